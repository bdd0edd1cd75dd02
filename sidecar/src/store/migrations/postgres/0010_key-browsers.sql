ALTER TABLE "api_keys" ADD COLUMN "keep_alive" text;--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "origins" jsonb;