ALTER TABLE "usage_sums" ADD COLUMN "most" double precision;--> statement-breakpoint
ALTER TABLE "usage_sums" ADD COLUMN "reached_at_ms" bigint;--> statement-breakpoint
CREATE INDEX "usage_sums_reached" ON "usage_sums" USING btree ("reached_at_ms");