CREATE TABLE `api_keys` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`secret_hash` text NOT NULL,
	`scopes` text NOT NULL,
	`created_at_ms` integer NOT NULL,
	`expires_at_ms` integer,
	`revoked_at_ms` integer
);
--> statement-breakpoint
CREATE TABLE `call_records` (
	`id` text PRIMARY KEY NOT NULL,
	`started_at_ms` integer NOT NULL,
	`kind` text NOT NULL,
	`task` text,
	`surface` text NOT NULL,
	`key_id` text NOT NULL,
	`person` text,
	`chat` text,
	`message` text,
	`character_id` text,
	`character_version` integer,
	`base_model` text,
	`upstream` text,
	`streamed` integer NOT NULL,
	`status` text NOT NULL,
	`error_code` text,
	`finish_reason` text,
	`context_tokens` integer,
	`estimated_prompt_tokens` integer,
	`prompt_tokens` integer,
	`completion_tokens` integer,
	`cached_tokens` integer,
	`tokens_by_part` text NOT NULL,
	`cut_turns` integer NOT NULL,
	`prefix_hash` text,
	`first_token_ms` real,
	`total_ms` real NOT NULL,
	`load_ms` real,
	`prefill_ms` real,
	`decode_ms` real
);
--> statement-breakpoint
CREATE INDEX `call_records_started` ON `call_records` (`started_at_ms`);--> statement-breakpoint
CREATE INDEX `call_records_message` ON `call_records` (`message`);--> statement-breakpoint
CREATE TABLE `character_versions` (
	`character_id` text NOT NULL,
	`number` integer NOT NULL,
	`card` text NOT NULL,
	`original_hash` text NOT NULL,
	`original_name` text NOT NULL,
	`picture_hash` text,
	`notes` text NOT NULL,
	`created_at_ms` integer NOT NULL,
	PRIMARY KEY(`character_id`, `number`),
	FOREIGN KEY (`character_id`) REFERENCES `characters`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `character_versions_original` ON `character_versions` (`original_hash`);--> statement-breakpoint
CREATE TABLE `characters` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`published_version` integer,
	`latest_version` integer NOT NULL,
	`created_at_ms` integer NOT NULL,
	`updated_at_ms` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `ratings` (
	`id` text PRIMARY KEY NOT NULL,
	`message` text NOT NULL,
	`value` integer NOT NULL,
	`at_ms` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `ratings_message` ON `ratings` (`message`);