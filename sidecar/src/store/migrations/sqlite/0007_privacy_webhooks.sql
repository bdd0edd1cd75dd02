CREATE TABLE `erasures` (
	`id` text PRIMARY KEY NOT NULL,
	`subject` text NOT NULL,
	`source` text NOT NULL,
	`at_ms` integer NOT NULL,
	`receipt` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `objections` (
	`subject` text PRIMARY KEY NOT NULL,
	`at_ms` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `pseudonym_epochs` (
	`id` text PRIMARY KEY NOT NULL,
	`salt` text,
	`started_at_ms` integer NOT NULL,
	`ended_at_ms` integer
);
--> statement-breakpoint
CREATE TABLE `text_samples` (
	`id` text PRIMARY KEY NOT NULL,
	`character_id` text NOT NULL,
	`person` text,
	`chat` text,
	`text` text NOT NULL,
	`at_ms` integer NOT NULL,
	`expires_at_ms` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `text_samples_character` ON `text_samples` (`character_id`,`at_ms`);--> statement-breakpoint
CREATE INDEX `text_samples_person` ON `text_samples` (`person`);--> statement-breakpoint
CREATE TABLE `tombstones` (
	`hash` text PRIMARY KEY NOT NULL,
	`kind` text NOT NULL,
	`at_ms` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `webhook_deliveries` (
	`webhook_id` text NOT NULL,
	`message_id` text NOT NULL,
	`payload` text NOT NULL,
	`state` text NOT NULL,
	`attempts` integer NOT NULL,
	`next_at_ms` integer NOT NULL,
	`last_status` integer,
	`last_error` text,
	`created_at_ms` integer NOT NULL,
	`delivered_at_ms` integer,
	PRIMARY KEY(`webhook_id`, `message_id`),
	FOREIGN KEY (`webhook_id`) REFERENCES `webhooks`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `webhook_deliveries_due` ON `webhook_deliveries` (`state`,`next_at_ms`);--> statement-breakpoint
CREATE TABLE `webhooks` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`url` text NOT NULL,
	`secret` text NOT NULL,
	`events` text NOT NULL,
	`is_active` integer NOT NULL,
	`created_by` text NOT NULL,
	`created_at_ms` integer NOT NULL,
	`followed_until_ms` integer NOT NULL
);
