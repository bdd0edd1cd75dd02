CREATE TABLE "cohort_roll_ups" (
	"week_ms" bigint NOT NULL,
	"cohort_ms" bigint NOT NULL,
	"character_id" text NOT NULL,
	"group_name" text NOT NULL,
	"people" integer NOT NULL,
	CONSTRAINT "cohort_roll_ups_character_id_group_name_week_ms_cohort_ms_pk" PRIMARY KEY("character_id","group_name","week_ms","cohort_ms")
);
--> statement-breakpoint
CREATE TABLE "item_roll_ups" (
	"grain" text NOT NULL,
	"kind" text NOT NULL,
	"at_ms" bigint NOT NULL,
	"character_id" text NOT NULL,
	"item" text NOT NULL,
	"used" integer NOT NULL,
	"dropped" integer NOT NULL,
	"tokens" bigint NOT NULL,
	"score_sum" double precision NOT NULL,
	CONSTRAINT "item_roll_ups_grain_kind_at_ms_character_id_item_pk" PRIMARY KEY("grain","kind","at_ms","character_id","item")
);
--> statement-breakpoint
CREATE TABLE "lore_hits" (
	"record_id" text NOT NULL,
	"position" integer NOT NULL,
	"started_at_ms" bigint NOT NULL,
	"character_id" text NOT NULL,
	"entry" text NOT NULL,
	"tokens" integer NOT NULL,
	"is_dropped" boolean NOT NULL,
	CONSTRAINT "lore_hits_record_id_position_pk" PRIMARY KEY("record_id","position")
);
--> statement-breakpoint
CREATE TABLE "passage_hits" (
	"record_id" text NOT NULL,
	"position" integer NOT NULL,
	"started_at_ms" bigint NOT NULL,
	"character_id" text NOT NULL,
	"document" text NOT NULL,
	"chunk" text NOT NULL,
	"score" double precision NOT NULL,
	"is_used" boolean NOT NULL,
	CONSTRAINT "passage_hits_record_id_position_pk" PRIMARY KEY("record_id","position")
);
--> statement-breakpoint
CREATE TABLE "people" (
	"person" text PRIMARY KEY NOT NULL,
	"first_day_ms" bigint NOT NULL,
	"last_day_ms" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "people_roll_ups" (
	"day_ms" bigint NOT NULL,
	"character_id" text NOT NULL,
	"group_name" text NOT NULL,
	"day" integer NOT NULL,
	"week" integer NOT NULL,
	"month" integer NOT NULL,
	"fresh" integer NOT NULL,
	CONSTRAINT "people_roll_ups_character_id_group_name_day_ms_pk" PRIMARY KEY("character_id","group_name","day_ms")
);
--> statement-breakpoint
CREATE TABLE "person_days" (
	"day_ms" bigint NOT NULL,
	"character_id" text NOT NULL,
	"group_name" text NOT NULL,
	"person" text NOT NULL,
	CONSTRAINT "person_days_day_ms_character_id_group_name_person_pk" PRIMARY KEY("day_ms","character_id","group_name","person")
);
--> statement-breakpoint
CREATE TABLE "roll_up_marks" (
	"name" text PRIMARY KEY NOT NULL,
	"at_ms" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "roll_up_queue" (
	"grain" text NOT NULL,
	"at_ms" bigint NOT NULL,
	CONSTRAINT "roll_up_queue_grain_at_ms_pk" PRIMARY KEY("grain","at_ms")
);
--> statement-breakpoint
CREATE TABLE "roll_ups" (
	"grain" text NOT NULL,
	"at_ms" bigint NOT NULL,
	"group_name" text NOT NULL,
	"kind" text NOT NULL,
	"character_id" text NOT NULL,
	"character_version" integer NOT NULL,
	"base_model" text NOT NULL,
	"surface" text NOT NULL,
	"cell" jsonb NOT NULL,
	CONSTRAINT "roll_ups_grain_group_name_at_ms_kind_character_id_character_version_base_model_surface_pk" PRIMARY KEY("grain","group_name","at_ms","kind","character_id","character_version","base_model","surface")
);
--> statement-breakpoint
ALTER TABLE "call_records" ADD COLUMN "recorded_at_ms" bigint;--> statement-breakpoint
ALTER TABLE "call_records" ADD COLUMN "groups" jsonb;--> statement-breakpoint
ALTER TABLE "call_records" ADD COLUMN "user_message" text;--> statement-breakpoint
ALTER TABLE "call_records" ADD COLUMN "turn" integer;--> statement-breakpoint
ALTER TABLE "call_records" ADD COLUMN "variant" text;--> statement-breakpoint
ALTER TABLE "call_records" ADD COLUMN "http_status" integer;--> statement-breakpoint
ALTER TABLE "call_records" ADD COLUMN "reasoning_tokens" integer;--> statement-breakpoint
ALTER TABLE "call_records" ADD COLUMN "cached_is_estimate" boolean;--> statement-breakpoint
ALTER TABLE "call_records" ADD COLUMN "lore_fired" integer;--> statement-breakpoint
ALTER TABLE "call_records" ADD COLUMN "passages" integer;--> statement-breakpoint
ALTER TABLE "call_records" ADD COLUMN "top_score" double precision;--> statement-breakpoint
ALTER TABLE "call_records" ADD COLUMN "tool_calls" integer;--> statement-breakpoint
ALTER TABLE "call_records" ADD COLUMN "assemble_ms" double precision;--> statement-breakpoint
ALTER TABLE "call_records" ADD COLUMN "queue_ms" double precision;--> statement-breakpoint
ALTER TABLE "call_records" ADD COLUMN "cost_micro" bigint;--> statement-breakpoint
ALTER TABLE "ratings" ADD COLUMN "recorded_at_ms" bigint;--> statement-breakpoint
ALTER TABLE "ratings" ADD COLUMN "source" text;--> statement-breakpoint
CREATE INDEX "lore_hits_started" ON "lore_hits" USING btree ("started_at_ms");--> statement-breakpoint
CREATE INDEX "passage_hits_started" ON "passage_hits" USING btree ("started_at_ms");--> statement-breakpoint
CREATE INDEX "person_days_person" ON "person_days" USING btree ("person");--> statement-breakpoint
CREATE INDEX "call_records_recorded" ON "call_records" USING btree ("recorded_at_ms");--> statement-breakpoint
CREATE INDEX "call_records_user_message" ON "call_records" USING btree ("user_message");--> statement-breakpoint
CREATE INDEX "ratings_recorded" ON "ratings" USING btree ("recorded_at_ms");--> statement-breakpoint
UPDATE "call_records" SET "recorded_at_ms" = "started_at_ms";
