CREATE TABLE "erasures" (
	"id" text PRIMARY KEY NOT NULL,
	"subject" text NOT NULL,
	"source" text NOT NULL,
	"at_ms" bigint NOT NULL,
	"receipt" jsonb NOT NULL
);
--> statement-breakpoint
CREATE TABLE "objections" (
	"subject" text PRIMARY KEY NOT NULL,
	"at_ms" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "pseudonym_epochs" (
	"id" text PRIMARY KEY NOT NULL,
	"salt" text,
	"started_at_ms" bigint NOT NULL,
	"ended_at_ms" bigint
);
--> statement-breakpoint
CREATE TABLE "text_samples" (
	"id" text PRIMARY KEY NOT NULL,
	"character_id" text NOT NULL,
	"person" text,
	"chat" text,
	"text" text NOT NULL,
	"at_ms" bigint NOT NULL,
	"expires_at_ms" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "tombstones" (
	"hash" text PRIMARY KEY NOT NULL,
	"kind" text NOT NULL,
	"at_ms" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "webhook_deliveries" (
	"webhook_id" text NOT NULL,
	"message_id" text NOT NULL,
	"payload" jsonb NOT NULL,
	"state" text NOT NULL,
	"attempts" integer NOT NULL,
	"next_at_ms" bigint NOT NULL,
	"last_status" integer,
	"last_error" text,
	"created_at_ms" bigint NOT NULL,
	"delivered_at_ms" bigint,
	CONSTRAINT "webhook_deliveries_webhook_id_message_id_pk" PRIMARY KEY("webhook_id","message_id")
);
--> statement-breakpoint
CREATE TABLE "webhooks" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"url" text NOT NULL,
	"secret" text NOT NULL,
	"events" jsonb NOT NULL,
	"is_active" boolean NOT NULL,
	"created_by" text NOT NULL,
	"created_at_ms" bigint NOT NULL,
	"followed_until_ms" bigint NOT NULL
);
--> statement-breakpoint
ALTER TABLE "webhook_deliveries" ADD CONSTRAINT "webhook_deliveries_webhook_id_webhooks_id_fk" FOREIGN KEY ("webhook_id") REFERENCES "public"."webhooks"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "text_samples_character" ON "text_samples" USING btree ("character_id","at_ms");--> statement-breakpoint
CREATE INDEX "text_samples_person" ON "text_samples" USING btree ("person");--> statement-breakpoint
CREATE INDEX "webhook_deliveries_due" ON "webhook_deliveries" USING btree ("state","next_at_ms");