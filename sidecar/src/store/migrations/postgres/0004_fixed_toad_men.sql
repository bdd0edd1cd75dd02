ALTER TABLE "knowledge_bases" ADD COLUMN "cut_version" integer DEFAULT 1 NOT NULL;--> statement-breakpoint
ALTER TABLE "knowledge_bases" ADD COLUMN "busy_until_ms" bigint;--> statement-breakpoint
ALTER TABLE "knowledge_bases" ADD COLUMN "deleted_at_ms" bigint;--> statement-breakpoint
ALTER TABLE "knowledge_chunks" ADD COLUMN "original_text" text;--> statement-breakpoint
ALTER TABLE "knowledge_chunks" ADD COLUMN "edited_by" text;--> statement-breakpoint
ALTER TABLE "knowledge_chunks" ADD COLUMN "edited_at_ms" bigint;