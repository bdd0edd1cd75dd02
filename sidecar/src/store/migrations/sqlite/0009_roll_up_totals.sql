-- Made anew from the records, so that no row is without its totals.
DELETE FROM `roll_ups`;--> statement-breakpoint
DELETE FROM `roll_up_queue`;--> statement-breakpoint
DELETE FROM `roll_up_marks`;--> statement-breakpoint
ALTER TABLE `roll_ups` ADD `totals` text NOT NULL;