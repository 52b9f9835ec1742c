-- The schema that the migrations in db/migrations come to. Nothing runs this file: test/db/migrations.test.ts
-- compares it with a migrated database, and writes it anew with -u.

CREATE TABLE alert_channels (
  id uuid NOT NULL,
  user_id uuid NOT NULL,
  name text NOT NULL,
  kind text NOT NULL,
  config jsonb NOT NULL,
  events text[] NOT NULL,
  is_default boolean NOT NULL,
  include_log boolean NOT NULL,
  state text NOT NULL,
  disabled_reason text,
  confirmation jsonb,
  created_at timestamp with time zone NOT NULL DEFAULT now(),
  deleted_at timestamp with time zone,
  lease_token uuid,
  lease_owner text,
  lease_expires_at timestamp with time zone,
  retry_at timestamp with time zone,
  attempted_at timestamp with time zone,
  hold_until timestamp with time zone,
  digested_at timestamp with time zone,
  first_failed_at timestamp with time zone,
  failure_count integer NOT NULL DEFAULT 0,
  rejection_count integer NOT NULL DEFAULT 0,
  CONSTRAINT alert_channels_check CHECK (((state = 'DISABLED'::text) = (disabled_reason IS NOT NULL))),
  CONSTRAINT alert_channels_check1 CHECK ((((lease_token IS NULL) = (lease_expires_at IS NULL)) AND ((lease_token IS NULL) = (lease_owner IS NULL)))),
  CONSTRAINT alert_channels_kind_check CHECK ((kind = ANY (ARRAY['WEBHOOK'::text, 'EMAIL'::text, 'SLACK'::text, 'DISCORD'::text, 'NTFY'::text]))),
  CONSTRAINT alert_channels_pkey PRIMARY KEY (id),
  CONSTRAINT alert_channels_state_check CHECK ((state = ANY (ARRAY['UNCONFIRMED'::text, 'ACTIVE'::text, 'DISABLED'::text]))),
  CONSTRAINT alert_channels_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
) WITH (fillfactor=70);
CREATE INDEX alert_channels_completed ON public.alert_channels USING btree (user_id) WHERE ((deleted_at IS NULL) AND (state = 'ACTIVE'::text) AND ('JOB_COMPLETED'::text = ANY (events)));
CREATE INDEX alert_channels_deleted ON public.alert_channels USING btree (deleted_at) WHERE (deleted_at IS NOT NULL);
CREATE INDEX alert_channels_user ON public.alert_channels USING btree (user_id, id) WHERE (deleted_at IS NULL);

CREATE TABLE alert_deliveries (
  id uuid NOT NULL,
  channel_id uuid NOT NULL,
  user_id uuid NOT NULL,
  event text NOT NULL,
  workflow_id uuid,
  workflow_name text,
  job_id uuid,
  incident_id uuid,
  detail text,
  status text NOT NULL,
  attempt integer NOT NULL DEFAULT 0,
  last_status integer,
  last_error text,
  created_at timestamp with time zone NOT NULL DEFAULT now(),
  delivered_at timestamp with time zone,
  CONSTRAINT alert_deliveries_check CHECK (((status = 'DELIVERED'::text) = (delivered_at IS NOT NULL))),
  CONSTRAINT alert_deliveries_check1 CHECK (((workflow_id IS NULL) = (workflow_name IS NULL))),
  CONSTRAINT alert_deliveries_event_check CHECK ((event = ANY (ARRAY['WORKFLOW_FAILING'::text, 'WORKFLOW_RECOVERED'::text, 'WORKFLOW_TERMINATED'::text, 'WORKFLOW_BUILD_FAILED'::text, 'JOB_FAILED'::text, 'JOB_COMPLETED'::text, 'CHANNEL_DISABLED'::text, 'PLATFORM_OUTAGE'::text, 'PLATFORM_RECOVERED'::text, 'TEST'::text, 'CONFIRMATION'::text]))),
  CONSTRAINT alert_deliveries_pkey PRIMARY KEY (id),
  CONSTRAINT alert_deliveries_status_check CHECK ((status = ANY (ARRAY['PENDING'::text, 'DELIVERED'::text, 'FAILED'::text, 'EXPIRED'::text, 'MERGED'::text, 'SUPPRESSED'::text])))
) WITH (fillfactor=80);
CREATE INDEX alert_deliveries_channel ON public.alert_deliveries USING btree (channel_id, id);
CREATE INDEX alert_deliveries_codes ON public.alert_deliveries USING btree (user_id, created_at) WHERE (event = 'CONFIRMATION'::text);
CREATE INDEX alert_deliveries_incident ON public.alert_deliveries USING btree (incident_id) WHERE (incident_id IS NOT NULL);

CREATE TABLE alert_due (
  delivery_id uuid NOT NULL,
  channel_id uuid NOT NULL,
  is_urgent boolean NOT NULL DEFAULT false,
  queued_at timestamp with time zone NOT NULL DEFAULT now(),
  digest_id uuid,
  CONSTRAINT alert_due_pkey PRIMARY KEY (delivery_id)
);
CREATE INDEX alert_due_channel ON public.alert_due USING btree (channel_id, is_urgent DESC, delivery_id);
CREATE INDEX alert_due_digest ON public.alert_due USING btree (digest_id) WHERE (digest_id IS NOT NULL);

CREATE TABLE audit_events (
  id uuid NOT NULL,
  at timestamp with time zone NOT NULL DEFAULT now(),
  action text NOT NULL,
  outcome text NOT NULL,
  code text,
  user_id uuid,
  actor_id uuid,
  token_id uuid,
  token_kind text,
  token_name text,
  address text,
  object_id uuid,
  changes jsonb NOT NULL DEFAULT '[]'::jsonb,
  count integer NOT NULL DEFAULT 1,
  CONSTRAINT audit_events_check CHECK (((outcome = 'REFUSED'::text) = (code IS NOT NULL))),
  CONSTRAINT audit_events_count_check CHECK ((count > 0)),
  CONSTRAINT audit_events_outcome_check CHECK ((outcome = ANY (ARRAY['DONE'::text, 'REFUSED'::text]))),
  CONSTRAINT audit_events_pkey PRIMARY KEY (id),
  CONSTRAINT audit_events_token_kind_check CHECK ((token_kind = ANY (ARRAY['SESSION'::text, 'API'::text])))
);
CREATE INDEX audit_events_user ON public.audit_events USING btree (user_id, id);
CREATE TRIGGER audit_events_stay BEFORE UPDATE ON public.audit_events FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_update();

CREATE TABLE builds (
  id uuid NOT NULL,
  workflow_id uuid NOT NULL,
  user_id uuid NOT NULL,
  generation integer NOT NULL,
  status text NOT NULL,
  attempt integer NOT NULL DEFAULT 0,
  lease_token uuid,
  lease_owner text,
  lease_expires_at timestamp with time zone,
  error text,
  image_id text,
  log_line_count integer NOT NULL DEFAULT 0,
  created_at timestamp with time zone NOT NULL DEFAULT now(),
  started_at timestamp with time zone,
  completed_at timestamp with time zone,
  image_digest text,
  log_attempt integer NOT NULL DEFAULT 1,
  uncounted_attempts integer NOT NULL DEFAULT 0,
  log_open boolean NOT NULL DEFAULT false,
  engine_id text,
  retry_at timestamp with time zone,
  waits integer NOT NULL DEFAULT 0,
  waits_for text,
  awaits_engine boolean NOT NULL DEFAULT false,
  CONSTRAINT builds_check CHECK (((status = 'STARTED'::text) = (lease_token IS NOT NULL))),
  CONSTRAINT builds_check1 CHECK (((status = ANY (ARRAY['COMPLETED'::text, 'FAILED'::text, 'CANCELED'::text])) = (completed_at IS NOT NULL))),
  CONSTRAINT builds_check2 CHECK (((status <> 'FAILED'::text) OR (error IS NOT NULL))),
  CONSTRAINT builds_log_open_check CHECK (((NOT log_open) OR (completed_at IS NOT NULL))),
  CONSTRAINT builds_pkey PRIMARY KEY (id),
  CONSTRAINT builds_status_check CHECK ((status = ANY (ARRAY['QUEUED'::text, 'STARTED'::text, 'COMPLETED'::text, 'FAILED'::text, 'CANCELED'::text]))),
  CONSTRAINT builds_workflow_id_fkey FOREIGN KEY (workflow_id) REFERENCES workflows(id) ON DELETE CASCADE,
  CONSTRAINT builds_workflow_id_generation_key UNIQUE (workflow_id, generation)
);
CREATE INDEX builds_image ON public.builds USING btree (image_id) WHERE (image_id IS NOT NULL);
CREATE INDEX builds_negative_log_attempt ON public.builds USING btree (id) WHERE (log_attempt < 0);
CREATE INDEX builds_open_log ON public.builds USING btree (id) WHERE log_open;
CREATE INDEX builds_unfinished ON public.builds USING btree (id) WHERE (completed_at IS NULL);
CREATE INDEX builds_user_unfinished ON public.builds USING btree (user_id) WHERE (completed_at IS NULL);
CREATE TRIGGER builds_negative_log_attempt AFTER UPDATE OF log_attempt ON public.builds FOR EACH STATEMENT WHEN ((pg_trigger_depth() = 0)) EXECUTE FUNCTION open_logs_of_negative_attempts();

CREATE TABLE calendars (
  id uuid NOT NULL,
  key text NOT NULL,
  expressions text[] NOT NULL,
  time_zone text NOT NULL,
  tz_version text NOT NULL,
  occurrences timestamp with time zone[] NOT NULL,
  is_last boolean NOT NULL,
  refill_at timestamp with time zone,
  kept_seconds integer NOT NULL DEFAULT 0,
  used_at timestamp with time zone NOT NULL DEFAULT now(),
  CONSTRAINT calendars_check CHECK ((is_last OR (refill_at IS NOT NULL))),
  CONSTRAINT calendars_key_key UNIQUE (key),
  CONSTRAINT calendars_pkey PRIMARY KEY (id)
);
CREATE INDEX calendars_refill ON public.calendars USING btree (refill_at) WHERE (refill_at IS NOT NULL);

CREATE TABLE daily_totals (
  user_id uuid NOT NULL,
  what text NOT NULL,
  day timestamp with time zone NOT NULL,
  bucket smallint NOT NULL,
  count bigint NOT NULL,
  log_lines bigint NOT NULL,
  duration_ms bigint NOT NULL,
  CONSTRAINT daily_totals_pkey PRIMARY KEY (user_id, what, day, bucket),
  CONSTRAINT daily_totals_what_check CHECK ((what = ANY (ARRAY['COMPLETED'::text, 'FAILED'::text, 'CANCELED'::text])))
) WITH (fillfactor=80);

CREATE TABLE engine_images (
  engine_id text NOT NULL,
  image_id text NOT NULL,
  names text[] NOT NULL,
  pulled_at timestamp with time zone NOT NULL DEFAULT now(),
  last_used_at timestamp with time zone NOT NULL DEFAULT now(),
  look_at timestamp with time zone NOT NULL DEFAULT now(),
  CONSTRAINT engine_images_pkey PRIMARY KEY (engine_id, image_id)
);

CREATE TABLE idempotency_keys (
  user_id uuid NOT NULL,
  mutation text NOT NULL,
  key text NOT NULL,
  input_hash bytea NOT NULL,
  object_id uuid,
  created_at timestamp with time zone NOT NULL DEFAULT now(),
  CONSTRAINT idempotency_keys_key_check CHECK (((char_length(key) >= 1) AND (char_length(key) <= 255))),
  CONSTRAINT idempotency_keys_pkey PRIMARY KEY (user_id, mutation, key),
  CONSTRAINT idempotency_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);
CREATE INDEX idempotency_keys_created ON public.idempotency_keys USING btree (created_at);

CREATE TABLE incidents (
  id uuid NOT NULL,
  workflow_id uuid NOT NULL,
  user_id uuid NOT NULL,
  job_id uuid NOT NULL,
  opened_at timestamp with time zone NOT NULL DEFAULT now(),
  alerted_at timestamp with time zone,
  resolved_at timestamp with time zone,
  resolution text,
  failures integer NOT NULL,
  CONSTRAINT incidents_check CHECK (((resolved_at IS NULL) = (resolution IS NULL))),
  CONSTRAINT incidents_pkey PRIMARY KEY (id),
  CONSTRAINT incidents_resolution_check CHECK ((resolution = ANY (ARRAY['RECOVERED'::text, 'TERMINATED'::text]))),
  CONSTRAINT incidents_workflow_id_fkey FOREIGN KEY (workflow_id) REFERENCES workflows(id) ON DELETE CASCADE
) WITH (fillfactor=80);
CREATE UNIQUE INDEX incidents_open ON public.incidents USING btree (workflow_id) WHERE (resolved_at IS NULL);
CREATE INDEX incidents_resolved ON public.incidents USING btree (resolved_at) WHERE (resolved_at IS NOT NULL);
CREATE INDEX incidents_unalerted ON public.incidents USING btree (workflow_id) WHERE ((resolved_at IS NULL) AND (alerted_at IS NULL));
CREATE INDEX incidents_workflow ON public.incidents USING btree (workflow_id, id);

CREATE TABLE installations (
  only_row boolean NOT NULL DEFAULT true,
  id uuid NOT NULL,
  secret_key_ids text[] NOT NULL DEFAULT '{}'::text[],
  CONSTRAINT installations_only_row_check CHECK (only_row),
  CONSTRAINT installations_pkey PRIMARY KEY (only_row)
);

CREATE TABLE jobs (
  id uuid NOT NULL,
  workflow_id uuid NOT NULL,
  user_id uuid NOT NULL,
  kind text NOT NULL,
  trigger text NOT NULL,
  status text NOT NULL,
  generation integer NOT NULL,
  attempt integer NOT NULL DEFAULT 0,
  scheduled_at timestamp with time zone NOT NULL,
  created_at timestamp with time zone NOT NULL DEFAULT now(),
  updated_at timestamp with time zone NOT NULL DEFAULT now(),
  queued_at timestamp with time zone,
  started_at timestamp with time zone,
  completed_at timestamp with time zone,
  lease_token uuid,
  lease_owner text,
  lease_expires_at timestamp with time zone,
  engine_id text,
  cancel_requested_at timestamp with time zone,
  exit_code integer,
  failure_reason text,
  failure_message text,
  log_line_count integer NOT NULL DEFAULT 0,
  log_attempt integer NOT NULL DEFAULT 1,
  requested_by uuid,
  requested_with text,
  uncounted_attempts integer NOT NULL DEFAULT 0,
  log_open boolean NOT NULL DEFAULT false,
  lost_attempt integer,
  after_failure boolean NOT NULL DEFAULT true,
  awaited boolean NOT NULL DEFAULT true,
  adoptions integer NOT NULL DEFAULT 0,
  retries integer NOT NULL DEFAULT 0,
  retry_at timestamp with time zone,
  CONSTRAINT jobs_check CHECK (((status = 'RUNNING'::text) = (lease_token IS NOT NULL))),
  CONSTRAINT jobs_check1 CHECK (((status = ANY (ARRAY['COMPLETED'::text, 'FAILED'::text, 'CANCELED'::text])) = (completed_at IS NOT NULL))),
  CONSTRAINT jobs_check2 CHECK (((status = 'FAILED'::text) = (failure_reason IS NOT NULL))),
  CONSTRAINT jobs_check3 CHECK (((status <> ALL (ARRAY['RUNNING'::text, 'COMPLETED'::text, 'FAILED'::text])) OR (started_at IS NOT NULL))),
  CONSTRAINT jobs_failure_reason_check CHECK ((failure_reason = ANY (ARRAY['EXIT_CODE'::text, 'CHECK_FAILED'::text, 'TIMEOUT'::text, 'OUT_OF_MEMORY'::text, 'START_FAILED'::text, 'SYSTEM'::text]))),
  CONSTRAINT jobs_log_open_check CHECK (((NOT log_open) OR (completed_at IS NOT NULL))),
  CONSTRAINT jobs_pkey PRIMARY KEY (id),
  CONSTRAINT jobs_status_check CHECK ((status = ANY (ARRAY['PENDING'::text, 'QUEUED'::text, 'RUNNING'::text, 'COMPLETED'::text, 'FAILED'::text, 'CANCELED'::text]))),
  CONSTRAINT jobs_trigger_check CHECK ((trigger = ANY (ARRAY['AUTOMATIC'::text, 'MANUAL'::text, 'PING'::text])))
) PARTITION BY RANGE (id);
CREATE INDEX jobs_negative_log_attempt ON ONLY public.jobs USING btree (id) WHERE (log_attempt < 0);
CREATE INDEX jobs_open_log ON ONLY public.jobs USING btree (id) WHERE log_open;
CREATE INDEX jobs_user ON ONLY public.jobs USING btree (user_id, id);
CREATE INDEX jobs_workflow ON ONLY public.jobs USING btree (workflow_id, id);
CREATE TRIGGER jobs_negative_log_attempt AFTER UPDATE OF log_attempt ON public.jobs FOR EACH STATEMENT WHEN ((pg_trigger_depth() = 0)) EXECUTE FUNCTION open_logs_of_negative_attempts();

CREATE TABLE jobs_other PARTITION OF jobs DEFAULT (
  id uuid NOT NULL,
  workflow_id uuid NOT NULL,
  user_id uuid NOT NULL,
  kind text NOT NULL,
  trigger text NOT NULL,
  status text NOT NULL,
  generation integer NOT NULL,
  attempt integer NOT NULL DEFAULT 0,
  scheduled_at timestamp with time zone NOT NULL,
  created_at timestamp with time zone NOT NULL DEFAULT now(),
  updated_at timestamp with time zone NOT NULL DEFAULT now(),
  queued_at timestamp with time zone,
  started_at timestamp with time zone,
  completed_at timestamp with time zone,
  lease_token uuid,
  lease_owner text,
  lease_expires_at timestamp with time zone,
  engine_id text,
  cancel_requested_at timestamp with time zone,
  exit_code integer,
  failure_reason text,
  failure_message text,
  log_line_count integer NOT NULL DEFAULT 0,
  log_attempt integer NOT NULL DEFAULT 1,
  requested_by uuid,
  requested_with text,
  uncounted_attempts integer NOT NULL DEFAULT 0,
  log_open boolean NOT NULL DEFAULT false,
  lost_attempt integer,
  after_failure boolean NOT NULL DEFAULT true,
  awaited boolean NOT NULL DEFAULT true,
  adoptions integer NOT NULL DEFAULT 0,
  retries integer NOT NULL DEFAULT 0,
  retry_at timestamp with time zone,
  CONSTRAINT jobs_check CHECK (((status = 'RUNNING'::text) = (lease_token IS NOT NULL))),
  CONSTRAINT jobs_check1 CHECK (((status = ANY (ARRAY['COMPLETED'::text, 'FAILED'::text, 'CANCELED'::text])) = (completed_at IS NOT NULL))),
  CONSTRAINT jobs_check2 CHECK (((status = 'FAILED'::text) = (failure_reason IS NOT NULL))),
  CONSTRAINT jobs_check3 CHECK (((status <> ALL (ARRAY['RUNNING'::text, 'COMPLETED'::text, 'FAILED'::text])) OR (started_at IS NOT NULL))),
  CONSTRAINT jobs_failure_reason_check CHECK ((failure_reason = ANY (ARRAY['EXIT_CODE'::text, 'CHECK_FAILED'::text, 'TIMEOUT'::text, 'OUT_OF_MEMORY'::text, 'START_FAILED'::text, 'SYSTEM'::text]))),
  CONSTRAINT jobs_log_open_check CHECK (((NOT log_open) OR (completed_at IS NOT NULL))),
  CONSTRAINT jobs_other_days CHECK (((id < 'a day'::uuid) OR (id >= 'a day'::uuid))),
  CONSTRAINT jobs_other_pkey PRIMARY KEY (id),
  CONSTRAINT jobs_status_check CHECK ((status = ANY (ARRAY['PENDING'::text, 'QUEUED'::text, 'RUNNING'::text, 'COMPLETED'::text, 'FAILED'::text, 'CANCELED'::text]))),
  CONSTRAINT jobs_trigger_check CHECK ((trigger = ANY (ARRAY['AUTOMATIC'::text, 'MANUAL'::text, 'PING'::text])))
) WITH (fillfactor=42);
CREATE INDEX jobs_other_negative_log_attempt ON public.jobs_other USING btree (id) WHERE (log_attempt < 0);
CREATE INDEX jobs_other_open_log ON public.jobs_other USING btree (id) WHERE log_open;
CREATE INDEX jobs_other_user ON public.jobs_other USING btree (user_id, id);
CREATE INDEX jobs_other_workflow ON public.jobs_other USING btree (workflow_id, id);

CREATE TABLE known_addresses (
  user_id uuid NOT NULL,
  address text NOT NULL,
  last_used_at timestamp with time zone NOT NULL DEFAULT now(),
  CONSTRAINT known_addresses_pkey PRIMARY KEY (user_id, address),
  CONSTRAINT known_addresses_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);

CREATE TABLE log_chunks (
  source_id uuid NOT NULL,
  first_number integer NOT NULL,
  last_number integer NOT NULL,
  attempt integer NOT NULL,
  lines bytea STORAGE e NOT NULL,
  CONSTRAINT log_chunks_check CHECK ((last_number >= first_number)),
  CONSTRAINT log_chunks_pkey PRIMARY KEY (source_id, first_number)
) PARTITION BY RANGE (source_id);

CREATE TABLE log_chunks_other PARTITION OF log_chunks DEFAULT (
  source_id uuid NOT NULL,
  first_number integer NOT NULL,
  last_number integer NOT NULL,
  attempt integer NOT NULL,
  lines bytea STORAGE e NOT NULL,
  CONSTRAINT log_chunks_check CHECK ((last_number >= first_number)),
  CONSTRAINT log_chunks_other_pkey PRIMARY KEY (source_id, first_number)
);

CREATE TABLE notifications (
  id uuid NOT NULL,
  user_id uuid NOT NULL,
  kind text NOT NULL,
  workflow_id uuid,
  workflow_name text,
  job_id uuid,
  detail text,
  read_at timestamp with time zone,
  created_at timestamp with time zone NOT NULL DEFAULT now(),
  CONSTRAINT notifications_check CHECK (((kind <> ALL (ARRAY['JOB_FAILED'::text, 'JOB_COMPLETED'::text])) OR (job_id IS NOT NULL))),
  CONSTRAINT notifications_kind_check CHECK ((kind = ANY (ARRAY['WORKFLOW_BUILD_FAILED'::text, 'WORKFLOW_TERMINATED'::text, 'WORKFLOW_PAUSED'::text, 'WORKFLOW_RECOVERED'::text, 'RUN_SKIPPED'::text, 'RUN_LATE'::text, 'JOB_LONG'::text, 'JOB_SHORT'::text, 'JOB_FAILED'::text, 'JOB_COMPLETED'::text, 'CHANNEL_DISABLED'::text]))),
  CONSTRAINT notifications_pkey PRIMARY KEY (id),
  CONSTRAINT notifications_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE,
  CONSTRAINT notifications_workflow_check CHECK (((kind = 'CHANNEL_DISABLED'::text) = (workflow_id IS NULL)))
);
CREATE INDEX notifications_unread ON public.notifications USING btree (user_id, id) WHERE (read_at IS NULL);
CREATE INDEX notifications_user ON public.notifications USING btree (user_id, id);

CREATE TABLE outages (
  id uuid NOT NULL,
  kind text NOT NULL,
  place text NOT NULL,
  host text NOT NULL,
  detail text NOT NULL,
  began_at timestamp with time zone NOT NULL DEFAULT now(),
  ended_at timestamp with time zone,
  resolution text,
  CONSTRAINT outages_check CHECK (((ended_at IS NULL) = (resolution IS NULL))),
  CONSTRAINT outages_kind_check CHECK ((kind = ANY (ARRAY['NETWORK'::text, 'ENGINE'::text]))),
  CONSTRAINT outages_pkey PRIMARY KEY (id),
  CONSTRAINT outages_resolution_check CHECK ((resolution = ANY (ARRAY['RECOVERED'::text, 'GONE'::text])))
);
CREATE INDEX outages_ended ON public.outages USING btree (ended_at) WHERE (ended_at IS NOT NULL);
CREATE UNIQUE INDEX outages_open ON public.outages USING btree (kind, place) WHERE (ended_at IS NULL);

CREATE TABLE payloads (
  workflow_id uuid NOT NULL,
  generation integer NOT NULL,
  payload jsonb NOT NULL,
  bytes integer NOT NULL,
  CONSTRAINT payloads_pkey PRIMARY KEY (workflow_id, generation),
  CONSTRAINT payloads_workflow_id_fkey FOREIGN KEY (workflow_id) REFERENCES workflows(id) ON DELETE CASCADE
);
CREATE TRIGGER payloads_bytes BEFORE INSERT OR UPDATE OF payload ON public.payloads FOR EACH ROW EXECUTE FUNCTION fill_payload_bytes();

CREATE TABLE pings (
  workflow_id uuid NOT NULL,
  token_hash bytea NOT NULL,
  token text NOT NULL,
  start_grace_seconds integer NOT NULL,
  run_grace_seconds integer NOT NULL,
  post_only boolean NOT NULL,
  started_at timestamp with time zone,
  start_rid uuid,
  ended_at timestamp with time zone,
  given_up_at timestamp with time zone,
  log bytea NOT NULL DEFAULT '\x'::bytea,
  log_line_count integer NOT NULL DEFAULT 0,
  CONSTRAINT pings_check CHECK (((started_at IS NOT NULL) OR ((start_rid IS NULL) AND (ended_at IS NULL) AND (given_up_at IS NULL)))),
  CONSTRAINT pings_check1 CHECK (((log_line_count = 0) = (log = '\x'::bytea))),
  CONSTRAINT pings_pkey PRIMARY KEY (workflow_id),
  CONSTRAINT pings_token_hash_key UNIQUE (token_hash),
  CONSTRAINT pings_workflow_id_fkey FOREIGN KEY (workflow_id) REFERENCES workflows(id) ON DELETE CASCADE
);

CREATE TABLE private_images (
  image_id text NOT NULL,
  image text NOT NULL,
  CONSTRAINT private_images_pkey PRIMARY KEY (image_id, image)
);

CREATE TABLE private_pulls (
  puller uuid NOT NULL,
  image text NOT NULL,
  image_id_before text,
  started_at timestamp with time zone NOT NULL DEFAULT now(),
  repository text NOT NULL,
  engine_id text NOT NULL DEFAULT ''::text,
  CONSTRAINT private_pulls_pkey PRIMARY KEY (puller, image, engine_id)
);
CREATE INDEX private_pulls_engine ON public.private_pulls USING btree (engine_id, started_at);
CREATE INDEX private_pulls_repository ON public.private_pulls USING btree (repository);

CREATE TABLE pulled_images (
  user_id uuid NOT NULL,
  image_id text NOT NULL,
  image text NOT NULL,
  pulled_at timestamp with time zone NOT NULL DEFAULT now(),
  CONSTRAINT pulled_images_pkey PRIMARY KEY (user_id, image_id, image),
  CONSTRAINT pulled_images_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);

CREATE TABLE run_requests (
  job_id uuid NOT NULL,
  workflow_id uuid NOT NULL,
  user_id uuid NOT NULL,
  kind text NOT NULL,
  CONSTRAINT run_requests_pkey PRIMARY KEY (job_id)
);
CREATE INDEX run_requests_user ON public.run_requests USING btree (user_id, kind);
CREATE INDEX run_requests_workflow ON public.run_requests USING btree (workflow_id, job_id);

CREATE TABLE schedules (
  workflow_id uuid NOT NULL,
  user_id uuid NOT NULL,
  kind text NOT NULL,
  state text NOT NULL,
  generation integer NOT NULL,
  interval_minutes integer,
  last_slot_at timestamp with time zone,
  next_run_at timestamp with time zone,
  wake_at timestamp with time zone,
  waiting boolean NOT NULL DEFAULT false,
  last_job_id uuid,
  requested boolean NOT NULL DEFAULT false,
  failing boolean NOT NULL DEFAULT true,
  calendar_id uuid,
  starts_at timestamp with time zone,
  ends_at timestamp with time zone,
  delay_seconds integer NOT NULL DEFAULT 0,
  overlap text NOT NULL DEFAULT 'QUEUE'::text,
  late_seconds integer,
  paused boolean NOT NULL DEFAULT false,
  paused_until timestamp with time zone,
  skipped_run_count integer NOT NULL DEFAULT 0,
  skip_notified_at timestamp with time zone,
  late_after_seconds integer,
  expected_max_seconds integer,
  watches_ends boolean NOT NULL DEFAULT false,
  replacing_slot_at timestamp with time zone,
  late_slot_at timestamp with time zone,
  long_job_id uuid,
  CONSTRAINT schedules_overlap_check CHECK ((overlap = ANY (ARRAY['QUEUE'::text, 'SKIP'::text, 'REPLACE'::text]))),
  CONSTRAINT schedules_pkey PRIMARY KEY (workflow_id),
  CONSTRAINT schedules_state_check CHECK ((state = ANY (ARRAY['READY'::text, 'BLOCKED'::text, 'TERMINATED'::text]))),
  CONSTRAINT schedules_timing_check CHECK ((((interval_minutes IS NULL) OR (calendar_id IS NULL)) AND ((state <> 'TERMINATED'::text) OR (next_run_at IS NULL)) AND (paused OR (paused_until IS NULL)))),
  CONSTRAINT schedules_workflow_id_fkey FOREIGN KEY (workflow_id) REFERENCES workflows(id) ON DELETE CASCADE
) WITH (fillfactor=70);
CREATE INDEX schedules_wake ON public.schedules USING btree (wake_at) WHERE (wake_at IS NOT NULL);
CREATE INDEX schedules_watched ON public.schedules USING btree (workflow_id) WHERE ((late_after_seconds IS NOT NULL) OR (expected_max_seconds IS NOT NULL));
CREATE TRIGGER keep_occurrences AFTER INSERT OR UPDATE OF calendar_id, delay_seconds ON public.schedules FOR EACH ROW WHEN (((new.calendar_id IS NOT NULL) AND (new.delay_seconds > 0))) EXECUTE FUNCTION keep_occurrences();
CREATE TRIGGER schedules_held BEFORE INSERT OR UPDATE OF state ON public.schedules FOR EACH ROW WHEN ((new.state = ANY (ARRAY['HELD'::text, 'READY'::text]))) EXECUTE FUNCTION block_held_schedules();

CREATE TABLE tokens (
  id uuid NOT NULL,
  user_id uuid NOT NULL,
  kind text NOT NULL,
  name text,
  hash bytea NOT NULL,
  created_at timestamp with time zone NOT NULL DEFAULT now(),
  last_used_at timestamp with time zone,
  expires_at timestamp with time zone,
  address text,
  user_agent text,
  scope text NOT NULL DEFAULT 'WRITE'::text,
  CONSTRAINT tokens_check CHECK (((kind = 'API'::text) = (name IS NOT NULL))),
  CONSTRAINT tokens_check1 CHECK (((kind = 'API'::text) OR (expires_at IS NOT NULL))),
  CONSTRAINT tokens_hash_key UNIQUE (hash),
  CONSTRAINT tokens_kind_check CHECK ((kind = ANY (ARRAY['SESSION'::text, 'API'::text]))),
  CONSTRAINT tokens_pkey PRIMARY KEY (id),
  CONSTRAINT tokens_scope_check CHECK ((scope = ANY (ARRAY['READ'::text, 'RUN'::text, 'WRITE'::text]))),
  CONSTRAINT tokens_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);
CREATE INDEX tokens_user ON public.tokens USING btree (user_id, id);

CREATE TABLE totals (
  scope_id uuid NOT NULL,
  what text NOT NULL,
  hour timestamp with time zone NOT NULL,
  bucket smallint NOT NULL,
  count bigint NOT NULL,
  log_lines bigint NOT NULL,
  duration_ms bigint NOT NULL,
  CONSTRAINT totals_pkey PRIMARY KEY (scope_id, what, hour, bucket),
  CONSTRAINT totals_what_check CHECK ((what = ANY (ARRAY['COMPLETED'::text, 'FAILED'::text, 'CANCELED'::text, 'WORKFLOW_CREATED'::text, 'WORKFLOW_DELETED'::text])))
) WITH (fillfactor=80);

CREATE TABLE totals_pending (
  id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  at timestamp with time zone NOT NULL DEFAULT now(),
  weight integer NOT NULL DEFAULT 1,
  user_ids uuid[] STORAGE e NOT NULL,
  workflow_ids uuid[] STORAGE e NOT NULL,
  whats text[] STORAGE e NOT NULL,
  started_ats timestamp with time zone[] STORAGE e NOT NULL,
  log_lines integer[] STORAGE e NOT NULL,
  CONSTRAINT totals_pending_pkey PRIMARY KEY (id)
);

CREATE TABLE turn_rounds (
  kind text NOT NULL,
  round bigint NOT NULL,
  CONSTRAINT turn_rounds_kind_check CHECK ((kind = ANY (ARRAY['CONTAINER'::text, 'BUILD'::text]))),
  CONSTRAINT turn_rounds_pkey PRIMARY KEY (kind)
);

CREATE TABLE turns (
  id uuid NOT NULL,
  kind text NOT NULL,
  user_id uuid NOT NULL,
  round bigint NOT NULL,
  passed_by jsonb,
  waits_for text,
  CONSTRAINT turns_kind_check CHECK ((kind = ANY (ARRAY['CONTAINER'::text, 'BUILD'::text]))),
  CONSTRAINT turns_pkey PRIMARY KEY (id)
);
CREATE INDEX turns_next ON public.turns USING btree (kind, round, id);
CREATE INDEX turns_of_user ON public.turns USING btree (user_id, round);

CREATE TABLE users (
  id uuid NOT NULL,
  email text NOT NULL,
  password_hash text NOT NULL,
  created_at timestamp with time zone NOT NULL DEFAULT now(),
  notification_preference text NOT NULL DEFAULT 'ALERTS'::text,
  administrator boolean NOT NULL DEFAULT false,
  disabled_at timestamp with time zone,
  CONSTRAINT users_notification_preference_check CHECK ((notification_preference = ANY (ARRAY['ALL'::text, 'ALERTS'::text, 'NONE'::text]))),
  CONSTRAINT users_pkey PRIMARY KEY (id)
);
CREATE INDEX users_administrators ON public.users USING btree (id) WHERE (administrator AND (disabled_at IS NULL));
CREATE UNIQUE INDEX users_email_key ON public.users USING btree (lower(email));

CREATE TABLE volume_copies (
  volume_id uuid NOT NULL,
  engine_id text NOT NULL,
  size_bytes bigint,
  last_used_at timestamp with time zone,
  CONSTRAINT volume_copies_pkey PRIMARY KEY (engine_id, volume_id),
  CONSTRAINT volume_copies_volume_id_fkey FOREIGN KEY (volume_id) REFERENCES volumes(id) ON DELETE CASCADE
);
CREATE INDEX volume_copies_volume ON public.volume_copies USING btree (volume_id);

CREATE TABLE volumes (
  id uuid NOT NULL,
  user_id uuid NOT NULL,
  name text NOT NULL,
  created_at timestamp with time zone NOT NULL DEFAULT now(),
  delete_requested_at timestamp with time zone,
  CONSTRAINT volumes_pkey PRIMARY KEY (id),
  CONSTRAINT volumes_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE,
  CONSTRAINT volumes_user_id_name_key UNIQUE (user_id, name)
);
CREATE INDEX volumes_delete_requested ON public.volumes USING btree (id) WHERE (delete_requested_at IS NOT NULL);

CREATE TABLE workers (
  owner text NOT NULL,
  name text NOT NULL,
  version text NOT NULL,
  host text NOT NULL,
  started_at timestamp with time zone NOT NULL DEFAULT now(),
  seen_at timestamp with time zone NOT NULL DEFAULT now(),
  stopped_at timestamp with time zone,
  engine_id text,
  engine_seen_at timestamp with time zone,
  CONSTRAINT workers_check CHECK (((engine_id IS NULL) = (engine_seen_at IS NULL))),
  CONSTRAINT workers_name_check CHECK ((name = ANY (ARRAY['scheduling'::text, 'execution'::text, 'workflow'::text, 'joblogs'::text, 'alerting'::text]))),
  CONSTRAINT workers_pkey PRIMARY KEY (owner, name)
) WITH (fillfactor=50);

CREATE TABLE workflow_alert_channels (
  workflow_id uuid NOT NULL,
  channel_id uuid NOT NULL,
  CONSTRAINT workflow_alert_channels_channel_id_fkey FOREIGN KEY (channel_id) REFERENCES alert_channels(id) ON DELETE CASCADE,
  CONSTRAINT workflow_alert_channels_pkey PRIMARY KEY (workflow_id, channel_id),
  CONSTRAINT workflow_alert_channels_workflow_id_fkey FOREIGN KEY (workflow_id) REFERENCES workflows(id) ON DELETE CASCADE
);
CREATE INDEX workflow_alert_channels_channel ON public.workflow_alert_channels USING btree (channel_id);

CREATE TABLE workflows (
  id uuid NOT NULL,
  user_id uuid NOT NULL,
  name text NOT NULL,
  kind text NOT NULL,
  interval_minutes integer,
  max_consecutive_job_failures_allowed integer NOT NULL,
  consecutive_job_failures_count integer NOT NULL DEFAULT 0,
  generation integer NOT NULL DEFAULT 1,
  build_status text NOT NULL,
  created_at timestamp with time zone NOT NULL DEFAULT now(),
  updated_at timestamp with time zone NOT NULL DEFAULT now(),
  terminated_at timestamp with time zone,
  termination_reason text,
  deleted_at timestamp with time zone,
  purge_requested_at timestamp with time zone,
  log_retention_days integer,
  logs_removed_to uuid,
  schedule jsonb,
  run_policy jsonb,
  on_too_many_failures text NOT NULL DEFAULT 'TERMINATE'::text,
  paused_at timestamp with time zone,
  paused_until timestamp with time zone,
  pause_reason text,
  pause_note text,
  skipped_run_count integer NOT NULL DEFAULT 0,
  alert_after_failures integer NOT NULL DEFAULT 1,
  has_own_alert_channels boolean NOT NULL DEFAULT false,
  muted_until timestamp with time zone,
  CONSTRAINT workflows_alert_after_failures_check CHECK (((alert_after_failures >= 1) AND (alert_after_failures <= 1000))),
  CONSTRAINT workflows_build_status_check CHECK ((build_status = ANY (ARRAY['QUEUED'::text, 'STARTED'::text, 'COMPLETED'::text, 'FAILED'::text, 'CANCELED'::text]))),
  CONSTRAINT workflows_check CHECK (((terminated_at IS NULL) = (termination_reason IS NULL))),
  CONSTRAINT workflows_check1 CHECK (((deleted_at IS NULL) OR (terminated_at IS NOT NULL))),
  CONSTRAINT workflows_check2 CHECK (((purge_requested_at IS NULL) OR (deleted_at IS NOT NULL))),
  CONSTRAINT workflows_interval_minutes_check CHECK (((interval_minutes >= 1) AND (interval_minutes <= 525600))),
  CONSTRAINT workflows_kind_check CHECK ((kind = ANY (ARRAY['HEARTBEAT'::text, 'CONTAINER'::text]))),
  CONSTRAINT workflows_log_retention_days_check CHECK ((log_retention_days >= 1)),
  CONSTRAINT workflows_max_consecutive_job_failures_allowed_check CHECK (((max_consecutive_job_failures_allowed >= 1) AND (max_consecutive_job_failures_allowed <= 1000))),
  CONSTRAINT workflows_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 255))),
  CONSTRAINT workflows_on_too_many_failures_check CHECK ((on_too_many_failures = ANY (ARRAY['TERMINATE'::text, 'PAUSE'::text, 'NOTHING'::text]))),
  CONSTRAINT workflows_pause_check CHECK ((((paused_at IS NULL) = (pause_reason IS NULL)) AND ((paused_at IS NOT NULL) OR (paused_until IS NULL)) AND (pause_reason = ANY (ARRAY['REQUESTED'::text, 'FAILURES'::text])))),
  CONSTRAINT workflows_pkey PRIMARY KEY (id),
  CONSTRAINT workflows_schedule_check CHECK (((schedule IS NULL) = (interval_minutes IS NOT NULL))),
  CONSTRAINT workflows_termination_reason_check CHECK ((termination_reason = ANY (ARRAY['REQUESTED'::text, 'FAILURES'::text, 'DELETED'::text]))),
  CONSTRAINT workflows_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id)
);
CREATE INDEX workflows_deleted ON public.workflows USING btree (deleted_at) WHERE ((deleted_at IS NOT NULL) AND (purge_requested_at IS NULL));
CREATE INDEX workflows_log_retention ON public.workflows USING btree (id) WHERE (log_retention_days IS NOT NULL);
CREATE INDEX workflows_purging ON public.workflows USING btree (id) WHERE (purge_requested_at IS NOT NULL);
CREATE INDEX workflows_user ON public.workflows USING btree (user_id, id);
CREATE TRIGGER workflows_created AFTER INSERT ON public.workflows REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_created_workflows();
CREATE TRIGGER workflows_deleted AFTER UPDATE OF deleted_at ON public.workflows FOR EACH ROW WHEN (((old.deleted_at IS NULL) AND (new.deleted_at IS NOT NULL))) EXECUTE FUNCTION count_deleted_workflow();
CREATE TRIGGER workflows_failing AFTER UPDATE OF consecutive_job_failures_count ON public.workflows FOR EACH ROW EXECUTE FUNCTION mark_failing_schedule();
CREATE TRIGGER workflows_purged AFTER DELETE ON public.workflows FOR EACH ROW WHEN ((old.deleted_at IS NULL)) EXECUTE FUNCTION count_deleted_workflow();

CREATE OR REPLACE FUNCTION public.block_held_schedules()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
  IF NEW.state = 'HELD' THEN
    NEW.state := 'BLOCKED';
  ELSIF TG_OP = 'INSERT' AND NEW.state = 'READY' THEN
    UPDATE schedules SET state = 'READY', generation = NEW.generation, wake_at = NEW.wake_at,
      next_run_at = coalesce(next_run_at, CASE WHEN interval_minutes IS NOT NULL THEN NEW.next_run_at END)
    WHERE workflow_id = NEW.workflow_id AND state IN ('HELD', 'BLOCKED');
    IF FOUND THEN RETURN NULL; END IF;
  END IF;
  RETURN NEW;
END $function$;

CREATE OR REPLACE FUNCTION public.count_created_workflows()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
  INSERT INTO totals_pending (weight, user_ids, workflow_ids, whats, started_ats, log_lines)
  SELECT count(*), ARRAY[user_id], ARRAY[NULL::uuid], ARRAY['WORKFLOW_CREATED'], ARRAY[NULL::timestamptz], ARRAY[0]
  FROM changed GROUP BY user_id;
  RETURN NULL;
END $function$;

CREATE OR REPLACE FUNCTION public.count_deleted_workflow()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
  INSERT INTO totals_pending (user_ids, workflow_ids, whats, started_ats, log_lines)
  VALUES (ARRAY[OLD.user_id], ARRAY[NULL::uuid], ARRAY['WORKFLOW_DELETED'], ARRAY[NULL::timestamptz], ARRAY[0]);
  RETURN NULL;
END $function$;

CREATE OR REPLACE FUNCTION public.duration_bucket(ms bigint)
 RETURNS smallint
 LANGUAGE sql
 IMMUTABLE
AS $function$
  SELECT CASE WHEN ms IS NULL THEN -1 WHEN ms <= 0 THEN 0 ELSE 1 + ceil(ln(ms::float8) / ln(1.05::float8 / 0.95)) END::smallint
$function$;

CREATE OR REPLACE FUNCTION public.duration_ms(started_at timestamp with time zone, completed_at timestamp with time zone)
 RETURNS bigint
 LANGUAGE sql
 STABLE
AS $function$
  SELECT greatest(0, floor(extract(epoch FROM completed_at) * 1000) - floor(extract(epoch FROM started_at) * 1000))::bigint
$function$;

CREATE OR REPLACE FUNCTION public.fill_payload_bytes()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
  NEW.bytes := octet_length(NEW.payload::text);
  RETURN NEW;
END $function$;

CREATE OR REPLACE FUNCTION public.keep_occurrences()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
  UPDATE calendars SET kept_seconds = NEW.delay_seconds WHERE id = NEW.calendar_id AND kept_seconds < NEW.delay_seconds;
  RETURN NULL;
END $function$;

CREATE OR REPLACE FUNCTION public.mark_failing_schedule()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
DECLARE
  is_failing boolean := NEW.consecutive_job_failures_count > 0
    OR EXISTS (SELECT FROM incidents WHERE workflow_id = NEW.id AND resolved_at IS NULL);
BEGIN
  UPDATE schedules SET failing = is_failing WHERE workflow_id = NEW.id AND failing <> is_failing;
  RETURN NULL;
END $function$;

CREATE OR REPLACE FUNCTION public.open_logs_of_negative_attempts()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
  EXECUTE format('UPDATE %1$I SET log_open = true, log_attempt = ~log_attempt WHERE id = ANY(ARRAY(
    SELECT id FROM %1$I WHERE log_attempt < 0 ORDER BY id FOR UPDATE SKIP LOCKED))', TG_TABLE_NAME);
  RETURN NULL;
END $function$;

CREATE OR REPLACE FUNCTION public.refuse_audit_update()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
  RAISE EXCEPTION 'Audit events are never updated.';
END $function$;
