-- Everything that the extension created in this database, as text. After an update it must be as after a fresh installation.
SELECT 'function ' || p.oid::regprocedure || E'\n' || pg_get_functiondef(p.oid) || coalesce(p.proacl::text, '-') || E'\n' || coalesce(obj_description(p.oid, 'pg_proc'), '-')
FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid JOIN pg_proc p ON p.oid = d.objid WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND e.extname = 'wee5_cron' ORDER BY 1;
SELECT concat_ws(' ', c.relkind, c.oid::regclass, c.relpersistence, c.relreplident, c.reloptions, c.relacl, obj_description(c.oid, 'pg_class'))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'wee5_cron' ORDER BY 1;
SELECT concat_ws(' ', a.attrelid::regclass, row_number() OVER (PARTITION BY attrelid ORDER BY attnum), a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attcollation::regcollation, a.attstorage, a.attacl, pg_get_expr(ad.adbin, ad.adrelid), col_description(a.attrelid, a.attnum))
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_attrdef ad ON (adrelid, adnum) = (attrelid, attnum)
WHERE n.nspname = 'wee5_cron' AND a.attnum > 0 AND NOT attisdropped AND c.relkind IN ('r', 'v') ORDER BY a.attrelid::regclass::text, attnum;
SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(c.oid) FROM pg_constraint c JOIN pg_namespace n ON n.oid = connamespace WHERE nspname = 'wee5_cron' ORDER BY 1;
SELECT pg_get_indexdef(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'wee5_cron' AND c.relkind = 'i' ORDER BY 1;
SELECT tgrelid::regclass || ' ' || tgenabled::text || ' ' || pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'wee5_cron' AND NOT tgisinternal ORDER BY 1;
SELECT c.oid::regclass || E'\n' || pg_get_viewdef(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'wee5_cron' AND c.relkind = 'v' ORDER BY 1;
SELECT unnest(extconfig)::regclass || ' ' || unnest(extcondition) FROM pg_extension WHERE extname = 'wee5_cron' ORDER BY 1;
SELECT nspacl FROM pg_namespace WHERE nspname = 'wee5_cron';
