SELECT pg_catalog.pg_extension_config_dump('wee5_cron.invocation', '');
SELECT pg_catalog.pg_extension_config_dump('wee5_cron.invocation_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('wee5_cron.attempt', '');
SELECT pg_catalog.pg_extension_config_dump('wee5_cron.job', '');
SELECT pg_catalog.pg_extension_config_dump('wee5_cron.endpoint', '');
