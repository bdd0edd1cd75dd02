ALTER TABLE `usage_sums` ADD `most` real;--> statement-breakpoint
ALTER TABLE `usage_sums` ADD `reached_at_ms` integer;--> statement-breakpoint
CREATE INDEX `usage_sums_reached` ON `usage_sums` (`reached_at_ms`);