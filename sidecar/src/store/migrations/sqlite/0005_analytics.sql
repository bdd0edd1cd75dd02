CREATE TABLE `cohort_roll_ups` (
	`week_ms` integer NOT NULL,
	`cohort_ms` integer NOT NULL,
	`character_id` text NOT NULL,
	`group_name` text NOT NULL,
	`people` integer NOT NULL,
	PRIMARY KEY(`character_id`, `group_name`, `week_ms`, `cohort_ms`)
);
--> statement-breakpoint
CREATE TABLE `item_roll_ups` (
	`grain` text NOT NULL,
	`kind` text NOT NULL,
	`at_ms` integer NOT NULL,
	`character_id` text NOT NULL,
	`item` text NOT NULL,
	`used` integer NOT NULL,
	`dropped` integer NOT NULL,
	`tokens` integer NOT NULL,
	`score_sum` real NOT NULL,
	PRIMARY KEY(`grain`, `kind`, `at_ms`, `character_id`, `item`)
);
--> statement-breakpoint
CREATE TABLE `lore_hits` (
	`record_id` text NOT NULL,
	`position` integer NOT NULL,
	`started_at_ms` integer NOT NULL,
	`character_id` text NOT NULL,
	`entry` text NOT NULL,
	`tokens` integer NOT NULL,
	`is_dropped` integer NOT NULL,
	PRIMARY KEY(`record_id`, `position`)
);
--> statement-breakpoint
CREATE INDEX `lore_hits_started` ON `lore_hits` (`started_at_ms`);--> statement-breakpoint
CREATE TABLE `passage_hits` (
	`record_id` text NOT NULL,
	`position` integer NOT NULL,
	`started_at_ms` integer NOT NULL,
	`character_id` text NOT NULL,
	`document` text NOT NULL,
	`chunk` text NOT NULL,
	`score` real NOT NULL,
	`is_used` integer NOT NULL,
	PRIMARY KEY(`record_id`, `position`)
);
--> statement-breakpoint
CREATE INDEX `passage_hits_started` ON `passage_hits` (`started_at_ms`);--> statement-breakpoint
CREATE TABLE `people` (
	`person` text PRIMARY KEY NOT NULL,
	`first_day_ms` integer NOT NULL,
	`last_day_ms` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `people_roll_ups` (
	`day_ms` integer NOT NULL,
	`character_id` text NOT NULL,
	`group_name` text NOT NULL,
	`day` integer NOT NULL,
	`week` integer NOT NULL,
	`month` integer NOT NULL,
	`fresh` integer NOT NULL,
	PRIMARY KEY(`character_id`, `group_name`, `day_ms`)
);
--> statement-breakpoint
CREATE TABLE `person_days` (
	`day_ms` integer NOT NULL,
	`character_id` text NOT NULL,
	`group_name` text NOT NULL,
	`person` text NOT NULL,
	PRIMARY KEY(`day_ms`, `character_id`, `group_name`, `person`)
);
--> statement-breakpoint
CREATE INDEX `person_days_person` ON `person_days` (`person`);--> statement-breakpoint
CREATE TABLE `roll_up_marks` (
	`name` text PRIMARY KEY NOT NULL,
	`at_ms` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `roll_up_queue` (
	`grain` text NOT NULL,
	`at_ms` integer NOT NULL,
	PRIMARY KEY(`grain`, `at_ms`)
);
--> statement-breakpoint
CREATE TABLE `roll_ups` (
	`grain` text NOT NULL,
	`at_ms` integer NOT NULL,
	`group_name` text NOT NULL,
	`kind` text NOT NULL,
	`character_id` text NOT NULL,
	`character_version` integer NOT NULL,
	`base_model` text NOT NULL,
	`surface` text NOT NULL,
	`cell` text NOT NULL,
	PRIMARY KEY(`grain`, `group_name`, `at_ms`, `kind`, `character_id`, `character_version`, `base_model`, `surface`)
);
--> statement-breakpoint
ALTER TABLE `call_records` ADD `recorded_at_ms` integer;--> statement-breakpoint
ALTER TABLE `call_records` ADD `groups` text;--> statement-breakpoint
ALTER TABLE `call_records` ADD `user_message` text;--> statement-breakpoint
ALTER TABLE `call_records` ADD `turn` integer;--> statement-breakpoint
ALTER TABLE `call_records` ADD `variant` text;--> statement-breakpoint
ALTER TABLE `call_records` ADD `http_status` integer;--> statement-breakpoint
ALTER TABLE `call_records` ADD `reasoning_tokens` integer;--> statement-breakpoint
ALTER TABLE `call_records` ADD `cached_is_estimate` integer;--> statement-breakpoint
ALTER TABLE `call_records` ADD `lore_fired` integer;--> statement-breakpoint
ALTER TABLE `call_records` ADD `passages` integer;--> statement-breakpoint
ALTER TABLE `call_records` ADD `top_score` real;--> statement-breakpoint
ALTER TABLE `call_records` ADD `tool_calls` integer;--> statement-breakpoint
ALTER TABLE `call_records` ADD `assemble_ms` real;--> statement-breakpoint
ALTER TABLE `call_records` ADD `queue_ms` real;--> statement-breakpoint
ALTER TABLE `call_records` ADD `cost_micro` integer;--> statement-breakpoint
CREATE INDEX `call_records_recorded` ON `call_records` (`recorded_at_ms`);--> statement-breakpoint
CREATE INDEX `call_records_user_message` ON `call_records` (`user_message`);--> statement-breakpoint
ALTER TABLE `ratings` ADD `recorded_at_ms` integer;--> statement-breakpoint
ALTER TABLE `ratings` ADD `source` text;--> statement-breakpoint
CREATE INDEX `ratings_recorded` ON `ratings` (`recorded_at_ms`);--> statement-breakpoint
UPDATE `call_records` SET `recorded_at_ms` = `started_at_ms`;
