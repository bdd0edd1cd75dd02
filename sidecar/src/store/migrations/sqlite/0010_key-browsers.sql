ALTER TABLE `api_keys` ADD `keep_alive` text;--> statement-breakpoint
ALTER TABLE `api_keys` ADD `origins` text;