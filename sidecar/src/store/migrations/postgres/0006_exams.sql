CREATE TABLE "exam_questions" (
	"id" text PRIMARY KEY NOT NULL,
	"base_id" text NOT NULL,
	"question" text NOT NULL,
	"quote" text NOT NULL,
	"document_name" text NOT NULL,
	"created_by" text NOT NULL,
	"created_at_ms" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "exam_runs" (
	"id" text PRIMARY KEY NOT NULL,
	"base_id" text NOT NULL,
	"at_ms" bigint NOT NULL,
	"fingerprint" text,
	"hit_rate" double precision NOT NULL,
	"ndcg" double precision NOT NULL,
	"ranks" jsonb NOT NULL
);
--> statement-breakpoint
CREATE INDEX "exam_questions_base" ON "exam_questions" USING btree ("base_id");--> statement-breakpoint
CREATE INDEX "exam_runs_base" ON "exam_runs" USING btree ("base_id","at_ms");