ALTER TABLE `knowledge_bases` ADD `cut_version` integer DEFAULT 1 NOT NULL;--> statement-breakpoint
ALTER TABLE `knowledge_bases` ADD `busy_until_ms` integer;--> statement-breakpoint
ALTER TABLE `knowledge_bases` ADD `deleted_at_ms` integer;--> statement-breakpoint
ALTER TABLE `knowledge_chunks` ADD `original_text` text;--> statement-breakpoint
ALTER TABLE `knowledge_chunks` ADD `edited_by` text;--> statement-breakpoint
ALTER TABLE `knowledge_chunks` ADD `edited_at_ms` integer;