CREATE TABLE `embeddings` (
	`fingerprint` text NOT NULL,
	`text_hash` text NOT NULL,
	`vector` blob NOT NULL,
	PRIMARY KEY(`fingerprint`, `text_hash`)
);
--> statement-breakpoint
CREATE TABLE `knowledge_attachments` (
	`base_id` text NOT NULL,
	`character_id` text NOT NULL,
	PRIMARY KEY(`base_id`, `character_id`),
	FOREIGN KEY (`base_id`) REFERENCES `knowledge_bases`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `knowledge_attachments_character` ON `knowledge_attachments` (`character_id`);--> statement-breakpoint
CREATE TABLE `knowledge_bases` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`note` text,
	`settings` text NOT NULL,
	`generation` integer NOT NULL,
	`building_generation` integer,
	`fingerprint` text,
	`revision` integer NOT NULL,
	`created_at_ms` integer NOT NULL,
	`updated_at_ms` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `knowledge_chunks` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`base_id` text NOT NULL,
	`document_id` text NOT NULL,
	`generation` integer NOT NULL,
	`number` integer NOT NULL,
	`text` text NOT NULL,
	`header` text NOT NULL,
	`page` integer,
	`start_offset` integer NOT NULL,
	`end_offset` integer NOT NULL,
	`text_hash` text NOT NULL,
	`is_disabled` integer NOT NULL,
	FOREIGN KEY (`base_id`) REFERENCES `knowledge_bases`(`id`) ON UPDATE no action ON DELETE cascade,
	FOREIGN KEY (`document_id`) REFERENCES `knowledge_documents`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE UNIQUE INDEX `knowledge_chunks_place` ON `knowledge_chunks` (`document_id`,`generation`,`number`);--> statement-breakpoint
CREATE INDEX `knowledge_chunks_base` ON `knowledge_chunks` (`base_id`,`generation`);--> statement-breakpoint
CREATE TABLE `knowledge_documents` (
	`id` text PRIMARY KEY NOT NULL,
	`base_id` text NOT NULL,
	`name` text NOT NULL,
	`title` text NOT NULL,
	`media_type` text NOT NULL,
	`size_bytes` integer NOT NULL,
	`original_hash` text NOT NULL,
	`state` text NOT NULL,
	`pages_read` integer NOT NULL,
	`pages_total` integer,
	`chunks_embedded` integer NOT NULL,
	`chunks_total` integer,
	`failure` text,
	`notes` text NOT NULL,
	`created_by` text NOT NULL,
	`created_at_ms` integer NOT NULL,
	`updated_at_ms` integer NOT NULL,
	FOREIGN KEY (`base_id`) REFERENCES `knowledge_bases`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `knowledge_documents_base` ON `knowledge_documents` (`base_id`);