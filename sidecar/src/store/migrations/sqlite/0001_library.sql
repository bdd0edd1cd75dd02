CREATE TABLE `audit_events` (
	`id` text PRIMARY KEY NOT NULL,
	`at_ms` integer NOT NULL,
	`actor` text NOT NULL,
	`action` text NOT NULL,
	`target` text NOT NULL,
	`detail` text NOT NULL
);
--> statement-breakpoint
CREATE INDEX `audit_events_target` ON `audit_events` (`target`);--> statement-breakpoint
CREATE TABLE `import_jobs` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`actor` text NOT NULL,
	`publishes` integer NOT NULL,
	`state` text NOT NULL,
	`total_files` integer NOT NULL,
	`failure` text,
	`created_at_ms` integer NOT NULL,
	`finished_at_ms` integer
);
--> statement-breakpoint
CREATE TABLE `import_results` (
	`job_id` text NOT NULL,
	`position` integer NOT NULL,
	`file` text NOT NULL,
	`status` text NOT NULL,
	`character_id` text,
	`notes` text NOT NULL,
	PRIMARY KEY(`job_id`, `position`),
	FOREIGN KEY (`job_id`) REFERENCES `import_jobs`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE TABLE `lorebooks` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`book` text NOT NULL,
	`character_ids` text,
	`created_at_ms` integer NOT NULL,
	`updated_at_ms` integer NOT NULL
);
--> statement-breakpoint
DROP INDEX `character_versions_original`;--> statement-breakpoint
ALTER TABLE `character_versions` ADD `summary` text;--> statement-breakpoint
ALTER TABLE `character_versions` ADD `content_hash` text;--> statement-breakpoint
ALTER TABLE `character_versions` ADD `note` text;--> statement-breakpoint
ALTER TABLE `character_versions` ADD `created_by` text;--> statement-breakpoint
ALTER TABLE `character_versions` ADD `published_at_ms` integer;--> statement-breakpoint
CREATE INDEX `character_versions_content` ON `character_versions` (`content_hash`);--> statement-breakpoint
ALTER TABLE `call_records` ADD `anatomy` text;--> statement-breakpoint
ALTER TABLE `characters` ADD `groups` text;--> statement-breakpoint
ALTER TABLE `characters` ADD `deleted_at_ms` integer;