-- The tables of this app. wee5_cron comes in a migration of its own: CREATE EXTENSION wee5_cron, or what `npx wee5-cron sql` prints.
CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text NOT NULL UNIQUE, welcomed_at timestamptz);
CREATE TABLE activities (id text PRIMARY KEY, title text NOT NULL);
CREATE TABLE daily_numbers (day date PRIMARY KEY, users bigint NOT NULL);
