CREATE TABLE `person_sets` (
	`character_id` text NOT NULL,
	`group_name` text NOT NULL,
	`day_ms` integer NOT NULL,
	`members` blob NOT NULL,
	PRIMARY KEY(`character_id`, `group_name`, `day_ms`)
);
--> statement-breakpoint
CREATE INDEX `person_sets_day` ON `person_sets` (`day_ms`);--> statement-breakpoint
DROP TABLE `person_days`;--> statement-breakpoint
CREATE TABLE `__new_roll_ups` (
	`grain` text NOT NULL,
	`at_ms` integer NOT NULL,
	`group_name` text NOT NULL,
	`cells` text NOT NULL,
	PRIMARY KEY(`grain`, `at_ms`, `group_name`)
);
--> statement-breakpoint
DROP TABLE `roll_ups`;--> statement-breakpoint
ALTER TABLE `__new_roll_ups` RENAME TO `roll_ups`;--> statement-breakpoint
CREATE TABLE `__new_people` (
	`number` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`person` text NOT NULL,
	`first_day_ms` integer NOT NULL,
	`last_day_ms` integer NOT NULL
);
--> statement-breakpoint
INSERT INTO `__new_people`("person", "first_day_ms", "last_day_ms") SELECT "person", "first_day_ms", "last_day_ms" FROM `people`;--> statement-breakpoint
DROP TABLE `people`;--> statement-breakpoint
ALTER TABLE `__new_people` RENAME TO `people`;--> statement-breakpoint
CREATE UNIQUE INDEX `people_person` ON `people` (`person`);--> statement-breakpoint
CREATE INDEX `cohort_roll_ups_week` ON `cohort_roll_ups` (`week_ms`);--> statement-breakpoint
CREATE INDEX `people_roll_ups_day` ON `people_roll_ups` (`day_ms`);--> statement-breakpoint
ALTER TABLE `call_records` DROP COLUMN `variant`;--> statement-breakpoint
-- Cells are packed otherwise and people stand in sets: all of it is made anew from the records.
DELETE FROM `roll_up_queue`;--> statement-breakpoint
DELETE FROM `roll_up_marks`;
