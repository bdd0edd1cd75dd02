CREATE TABLE "roles" (
	"person_id" text PRIMARY KEY NOT NULL,
	"role" text NOT NULL,
	"given_by" text NOT NULL,
	"given_at_ms" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "usage_sums" (
	"key" text PRIMARY KEY NOT NULL,
	"sum" double precision NOT NULL,
	"expires_at_ms" bigint NOT NULL
);
--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "character_ids" jsonb;--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "tags" jsonb;--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "limits" jsonb;--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "created_by" text;--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "last_used_at_ms" bigint;--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "replaced_by" text;--> statement-breakpoint
CREATE INDEX "usage_sums_expires" ON "usage_sums" USING btree ("expires_at_ms");