CREATE TABLE `roles` (
	`person_id` text PRIMARY KEY NOT NULL,
	`role` text NOT NULL,
	`given_by` text NOT NULL,
	`given_at_ms` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `usage_sums` (
	`key` text PRIMARY KEY NOT NULL,
	`sum` real NOT NULL,
	`expires_at_ms` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `usage_sums_expires` ON `usage_sums` (`expires_at_ms`);--> statement-breakpoint
ALTER TABLE `api_keys` ADD `character_ids` text;--> statement-breakpoint
ALTER TABLE `api_keys` ADD `tags` text;--> statement-breakpoint
ALTER TABLE `api_keys` ADD `limits` text;--> statement-breakpoint
ALTER TABLE `api_keys` ADD `created_by` text;--> statement-breakpoint
ALTER TABLE `api_keys` ADD `last_used_at_ms` integer;--> statement-breakpoint
ALTER TABLE `api_keys` ADD `replaced_by` text;