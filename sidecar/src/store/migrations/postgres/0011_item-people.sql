CREATE TABLE "chores" (
	"name" text PRIMARY KEY NOT NULL,
	"done_at_ms" bigint NOT NULL
);
--> statement-breakpoint
ALTER TABLE "item_roll_ups" ADD COLUMN "people" text;--> statement-breakpoint
-- Days whose records are still there are counted anew, so that what enough people called up is seen again.
INSERT INTO "roll_up_queue" ("grain", "at_ms") SELECT DISTINCT 'day', "at_ms" FROM "item_roll_ups" WHERE "grain" = 'day' ON CONFLICT DO NOTHING;
