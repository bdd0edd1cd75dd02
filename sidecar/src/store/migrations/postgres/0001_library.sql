CREATE TABLE "audit_events" (
	"id" text PRIMARY KEY NOT NULL,
	"at_ms" bigint NOT NULL,
	"actor" text NOT NULL,
	"action" text NOT NULL,
	"target" text NOT NULL,
	"detail" jsonb NOT NULL
);
--> statement-breakpoint
CREATE TABLE "import_jobs" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"actor" text NOT NULL,
	"publishes" boolean NOT NULL,
	"state" text NOT NULL,
	"total_files" integer NOT NULL,
	"failure" text,
	"created_at_ms" bigint NOT NULL,
	"finished_at_ms" bigint
);
--> statement-breakpoint
CREATE TABLE "import_results" (
	"job_id" text NOT NULL,
	"position" integer NOT NULL,
	"file" text NOT NULL,
	"status" text NOT NULL,
	"character_id" text,
	"notes" jsonb NOT NULL,
	CONSTRAINT "import_results_job_id_position_pk" PRIMARY KEY("job_id","position")
);
--> statement-breakpoint
CREATE TABLE "lorebooks" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"book" jsonb NOT NULL,
	"character_ids" jsonb,
	"created_at_ms" bigint NOT NULL,
	"updated_at_ms" bigint NOT NULL
);
--> statement-breakpoint
DROP INDEX "character_versions_original";--> statement-breakpoint
ALTER TABLE "call_records" ADD COLUMN "anatomy" jsonb;--> statement-breakpoint
ALTER TABLE "character_versions" ADD COLUMN "summary" jsonb;--> statement-breakpoint
ALTER TABLE "character_versions" ADD COLUMN "content_hash" text;--> statement-breakpoint
ALTER TABLE "character_versions" ADD COLUMN "note" text;--> statement-breakpoint
ALTER TABLE "character_versions" ADD COLUMN "created_by" text;--> statement-breakpoint
ALTER TABLE "character_versions" ADD COLUMN "published_at_ms" bigint;--> statement-breakpoint
ALTER TABLE "characters" ADD COLUMN "groups" jsonb;--> statement-breakpoint
ALTER TABLE "characters" ADD COLUMN "deleted_at_ms" bigint;--> statement-breakpoint
ALTER TABLE "import_results" ADD CONSTRAINT "import_results_job_id_import_jobs_id_fk" FOREIGN KEY ("job_id") REFERENCES "public"."import_jobs"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "audit_events_target" ON "audit_events" USING btree ("target");--> statement-breakpoint
CREATE INDEX "character_versions_content" ON "character_versions" USING btree ("content_hash");