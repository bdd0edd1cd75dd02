CREATE TABLE "api_keys" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"secret_hash" text NOT NULL,
	"scopes" jsonb NOT NULL,
	"created_at_ms" bigint NOT NULL,
	"expires_at_ms" bigint,
	"revoked_at_ms" bigint
);
--> statement-breakpoint
CREATE TABLE "call_records" (
	"id" text PRIMARY KEY NOT NULL,
	"started_at_ms" bigint NOT NULL,
	"kind" text NOT NULL,
	"task" text,
	"surface" text NOT NULL,
	"key_id" text NOT NULL,
	"person" text,
	"chat" text,
	"message" text,
	"character_id" text,
	"character_version" integer,
	"base_model" text,
	"upstream" text,
	"streamed" boolean NOT NULL,
	"status" text NOT NULL,
	"error_code" text,
	"finish_reason" text,
	"context_tokens" integer,
	"estimated_prompt_tokens" integer,
	"prompt_tokens" integer,
	"completion_tokens" integer,
	"cached_tokens" integer,
	"tokens_by_part" jsonb NOT NULL,
	"cut_turns" integer NOT NULL,
	"prefix_hash" text,
	"first_token_ms" double precision,
	"total_ms" double precision NOT NULL,
	"load_ms" double precision,
	"prefill_ms" double precision,
	"decode_ms" double precision
);
--> statement-breakpoint
CREATE TABLE "character_versions" (
	"character_id" text NOT NULL,
	"number" integer NOT NULL,
	"card" jsonb NOT NULL,
	"original_hash" text NOT NULL,
	"original_name" text NOT NULL,
	"picture_hash" text,
	"notes" jsonb NOT NULL,
	"created_at_ms" bigint NOT NULL,
	CONSTRAINT "character_versions_character_id_number_pk" PRIMARY KEY("character_id","number")
);
--> statement-breakpoint
CREATE TABLE "characters" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"published_version" integer,
	"latest_version" integer NOT NULL,
	"created_at_ms" bigint NOT NULL,
	"updated_at_ms" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "ratings" (
	"id" text PRIMARY KEY NOT NULL,
	"message" text NOT NULL,
	"value" integer NOT NULL,
	"at_ms" bigint NOT NULL
);
--> statement-breakpoint
ALTER TABLE "character_versions" ADD CONSTRAINT "character_versions_character_id_characters_id_fk" FOREIGN KEY ("character_id") REFERENCES "public"."characters"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "call_records_started" ON "call_records" USING btree ("started_at_ms");--> statement-breakpoint
CREATE INDEX "call_records_message" ON "call_records" USING btree ("message");--> statement-breakpoint
CREATE INDEX "character_versions_original" ON "character_versions" USING btree ("original_hash");--> statement-breakpoint
CREATE INDEX "ratings_message" ON "ratings" USING btree ("message");