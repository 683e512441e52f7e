-- In the place of CREATE EXTENSION wee5_cron.
\o /dev/null
SET client_min_messages = warning;
SELECT bool_and(extname <> 'pg_cron') AS made_pg_cron, bool_and(extname <> 'pg_net') AS made_pg_net FROM pg_extension \gset
CREATE EXTENSION IF NOT EXISTS pg_cron;
CREATE EXTENSION IF NOT EXISTS pg_net VERSION 'wee5fixture';
BEGIN;
\i :portable
COMMIT;
SELECT wee5_cron.arm();
RESET client_min_messages;
\o
\set ECHO all
