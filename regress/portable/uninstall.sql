-- In the place of DROP EXTENSION wee5_cron.
\o /dev/null
SET client_min_messages = warning;
SELECT wee5_cron.uninstall();
\if :made_pg_net
DROP EXTENSION pg_net;
\endif
\if :made_pg_cron
DROP EXTENSION pg_cron;
\endif
RESET client_min_messages;
\o
\set ECHO all
