CREATE TABLE `exam_questions` (
	`id` text PRIMARY KEY NOT NULL,
	`base_id` text NOT NULL,
	`question` text NOT NULL,
	`quote` text NOT NULL,
	`document_name` text NOT NULL,
	`created_by` text NOT NULL,
	`created_at_ms` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `exam_questions_base` ON `exam_questions` (`base_id`);--> statement-breakpoint
CREATE TABLE `exam_runs` (
	`id` text PRIMARY KEY NOT NULL,
	`base_id` text NOT NULL,
	`at_ms` integer NOT NULL,
	`fingerprint` text,
	`hit_rate` real NOT NULL,
	`ndcg` real NOT NULL,
	`ranks` text NOT NULL
);
--> statement-breakpoint
CREATE INDEX `exam_runs_base` ON `exam_runs` (`base_id`,`at_ms`);