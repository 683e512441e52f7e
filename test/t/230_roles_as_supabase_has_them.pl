# The roles and default privileges of Supabase: postgres is not a superuser, supabase_admin is, and everything that
# supabase_admin creates is granted by name to anon, authenticated and service_role.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

$ENV{PGUSER} = 'supabase_admin';
my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Node->start_new('main', init => { extra => [qw(--encoding=UTF8 --locale=C --username=supabase_admin)] });
$node->set_server('wee5_cron.default_jobs', 'on');
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE postgres LOGIN CREATEROLE CREATEDB REPLICATION BYPASSRLS;
CREATE ROLE anon NOLOGIN NOINHERIT; CREATE ROLE authenticated NOLOGIN NOINHERIT; CREATE ROLE service_role NOLOGIN NOINHERIT BYPASSRLS;
CREATE ROLE authenticator LOGIN NOINHERIT;
GRANT anon, authenticated, service_role TO authenticator, postgres;
ALTER DATABASE postgres OWNER TO postgres;
CREATE SCHEMA extensions AUTHORIZATION postgres;
GRANT USAGE ON SCHEMA public, extensions TO postgres, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO postgres, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON FUNCTIONS TO postgres, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES TO postgres, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA extensions GRANT ALL ON TABLES TO postgres WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES IN SCHEMA extensions GRANT ALL ON FUNCTIONS TO postgres WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES FOR ROLE supabase_admin GRANT ALL ON TABLES TO postgres, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE supabase_admin GRANT ALL ON FUNCTIONS TO postgres, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE supabase_admin GRANT ALL ON SEQUENCES TO postgres, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE supabase_admin GRANT ALL ON SCHEMAS TO postgres, anon, authenticated, service_role;
CREATE EXTENSION pg_cron;
GRANT USAGE ON SCHEMA cron TO postgres;
-- What supautils does for a role that may create extensions: its CREATE EXTENSION runs with a superuser's rights.
CREATE FUNCTION public.create_extension_as_superuser(statement text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
  AS $$ BEGIN EXECUTE statement; END $$;
CREATE VIEW public.reach AS
  SELECT r.rolname::text AS role, o.what
  FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'wee5_cron'
  CROSS JOIN pg_roles r
  CROSS JOIN LATERAL (
    SELECT d.objid::regprocedure::text WHERE d.classid = 'pg_proc'::regclass AND has_function_privilege(r.oid, d.objid, 'EXECUTE')
    UNION ALL
    SELECT d.objid::regnamespace::text WHERE d.classid = 'pg_namespace'::regclass AND has_schema_privilege(r.oid, d.objid, 'USAGE, CREATE')
    UNION ALL
    SELECT c.oid::regclass::text FROM pg_class c
    WHERE d.classid = 'pg_class'::regclass AND c.oid = d.objid
      AND CASE c.relkind WHEN 'S' THEN has_sequence_privilege(r.oid, c.oid, 'USAGE, SELECT, UPDATE')
            WHEN 'i' THEN false
            ELSE has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') END
  ) AS o (what);
SQL

sub reach {
    my (@roles) = @_;
    return $node->safe_psql('postgres', "SELECT DISTINCT what FROM reach WHERE role IN (" . join(', ', map { "'$_'" } @roles) . ') ORDER BY 1');
}
sub jobs {
    return $node->safe_psql('postgres', "SELECT string_agg(jobname || '/' || username, ' ' ORDER BY jobname, username) FROM cron.job");
}
my @web = qw(anon authenticated service_role authenticator);

# The view above includes what default privileges grant.
$node->safe_psql('postgres', 'CREATE FUNCTION public.canary() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$');
is($node->safe_psql('postgres', "SELECT has_function_privilege('anon', 'public.canary()', 'EXECUTE')"), 't', 'default privileges grant anon what supabase_admin creates');

# Installed by supabase_admin itself, when postgres already has one of the jobs.
$node->psql_as('postgres', 'postgres', q{SELECT cron.schedule('poll-activities', '0 0 1 1 *', 'SELECT 1')});
my (undef, undef, $notices) = $node->psql('postgres', 'CREATE EXTENSION wee5_cron SCHEMA extensions');
like($notices, qr/"poll-activities" already exists/, 'CREATE EXTENSION by supabase_admin says in a NOTICE that the job of postgres already exists');
is(jobs(), 'daily-analytics/supabase_admin poll-activities/postgres welcome-emails/supabase_admin', '... and makes no second job of that name');
is(reach(@web, 'postgres'), '', 'no role can use any of its objects, whatever the default privileges');
$node->raises('postgres', "SELECT extensions.invoke_cron_endpoint('/x')", '42501', 'postgres may not use them either', role => 'postgres');
$node->safe_psql('postgres', "SELECT wee5_cron.grant_to('postgres', 'operate')");
is($node->psql_as('postgres', 'postgres', 'SELECT wee5_cron.register_jobs()'), 0, 'before grant_to() register_jobs() by postgres makes no job twice');
is(jobs(), 'daily-analytics/supabase_admin poll-activities/postgres welcome-emails/supabase_admin', '... and takes over none');
is(reach(@web), '', '... and no other role gains a privilege');
$node->safe_psql('postgres', 'DROP EXTENSION wee5_cron');
is(jobs(), 'poll-activities/postgres', 'DROP EXTENSION keeps the job of postgres');

# Installed by postgres through supautils, into a schema that PostgREST serves.
$node->psql_as('postgres', 'postgres', q{SELECT create_extension_as_superuser('CREATE EXTENSION wee5_cron SCHEMA public')});
is(jobs(), 'daily-analytics/postgres poll-activities/postgres welcome-emails/postgres', 'after CREATE EXTENSION through supautils the jobs belong to postgres');
is(reach(@web), '', 'anon, authenticated and service_role can use none of its objects');
for my $statement (
    "SELECT public.invoke_cron_endpoint('/anon')", "SELECT wee5_cron.invoke('/anon')", "CALL wee5_cron.run('/anon')", 'SELECT wee5_cron.wait_for(1)',
    'SELECT * FROM wee5_cron.invocation', 'SELECT * FROM wee5_cron.job_status', 'SELECT * FROM wee5_cron.worker', 'SELECT wee5_cron.harvest()',
    "SELECT nextval('wee5_cron.invocation_id_seq')", "SELECT wee5_cron.grant_to('anon', 'operate')") {
    $node->raises('postgres', "SET ROLE anon; $statement", '42501', "anon: $statement", role => 'authenticator');
}

# postgres owns the database, and configures it once a superuser allows it.
my @set = map { "ALTER DATABASE postgres SET app.settings.$_" } 'api_url = \'' . $receiver->url . '\'', "cron_secret = 'the secret'";
$node->raises('postgres', $_, '42501', "the database's owner may not without GRANT SET: $_", role => 'postgres') for @set;
$node->safe_psql('postgres', 'GRANT SET ON PARAMETER app.settings.api_url, app.settings.cron_secret TO postgres');
is($node->error_of('postgres', $_, role => 'postgres'), undef, "the database's owner may after GRANT SET: $_") for @set;
$node->raises('postgres', "ALTER DATABASE postgres SET wee5_cron.allow_plain_http = 'on'", '42501', "the database's owner may not store any other setting", role => 'postgres');

# postgres may operate the extension without any further grant.
is($node->error_of('postgres', "CALL wee5_cron.run('/by-postgres')", role => 'postgres'), undef, 'postgres may make calls');
is(($receiver->requests('/by-postgres'))[0]{bearer}, 'match', '... with the bearer');
is($node->psql_as('postgres', 'postgres', "SELECT status FROM wee5_cron.invocation WHERE endpoint_path = '/by-postgres'"), 'succeeded', '... and reads the ledger');
is($node->psql_as('postgres', 'postgres', 'SELECT string_agg(job_name, $$ $$ ORDER BY job_name) FROM wee5_cron.job_status'), 'daily-analytics welcome-emails',
    '... and sees the jobs that make calls');
my $id = $node->psql_as('postgres', 'postgres', "SELECT wee5_cron.run_now('welcome-emails')");
fields_are($node->finished('postgres', $id), { status => 'succeeded', job_name => 'welcome-emails', requested_by => 'postgres' }, '... and runs a job by run_now()');
is($node->psql_as('postgres', 'postgres', 'SELECT wee5_cron.unregister_jobs(), wee5_cron.register_jobs()'), '2|2', '... and removes and makes jobs');
is($node->error_of('postgres', 'DELETE FROM wee5_cron.invocation', role => 'postgres')->{sqlstate}, '42501', '... but may not change the ledger');

# The privileges that postgres grants to others.
$node->psql_as('postgres', 'postgres', "SELECT wee5_cron.grant_to('service_role', 'call')");
$id = $node->psql_as('authenticator', 'postgres', "SET ROLE service_role; SELECT public.invoke_cron_endpoint('/by-service-role')");
fields_are($node->finished('postgres', $id), { status => 'succeeded', requested_by => 'authenticator' }, 'service_role may make calls once postgres has granted it');
$node->raises('postgres', 'SET ROLE service_role; SELECT * FROM wee5_cron.invocation', '42501', '... but may not read the ledger', role => 'authenticator');
is(reach(qw(anon authenticated)), '', '... and anon and authenticated still have no access');

# A role that postgres creates later: a developer who may read, and who has jobs too.
$node->psql_as('postgres', 'postgres', "CREATE ROLE developer LOGIN; SELECT wee5_cron.grant_to('developer', 'read')");
is($node->psql_as('developer', 'postgres', 'SELECT count(*) > 0 FROM wee5_cron.invocation'), 't', 'a role to which postgres granted read may read the ledger');
$node->safe_psql('postgres', 'GRANT USAGE ON SCHEMA cron TO developer');
$node->psql_as('developer', 'postgres', q{SELECT cron.schedule('welcome-emails', '0 0 1 1 *', $$SELECT invoke_cron_endpoint('/of-developer')$$)});
is($node->psql_as('postgres', 'postgres', 'SELECT wee5_cron.register_jobs(force => true)'), 0, "register_jobs() makes no second job when another role has one of that name");
$node->raises('postgres', "SELECT wee5_cron.run_now('welcome-emails')", '42P09', '... and run_now() of that name is ambiguous', role => 'postgres');

# Revoking. postgres has a profile because it created the extension.
my %profile_of = (developer => 'read', service_role => 'call', postgres => 'operate');
# postgres is a member of service_role.
for my $role (qw(developer service_role postgres)) {
    isnt(reach($role), '', "$role has a privilege before revoke_from()");
    $node->safe_psql('postgres', "SELECT wee5_cron.revoke_from('$role', '$profile_of{$role}')");
    is(reach($role), '', '... and has none afterwards');
}
$node->safe_psql('postgres', "CREATE ROLE leaving; SELECT wee5_cron.grant_to('leaving', 'operate')");
is($node->error_of('postgres', 'DROP ROLE leaving')->{sqlstate}, '2BP01', 'a role that has a profile cannot be dropped');
is($node->error_of('postgres', 'DROP OWNED BY leaving; DROP ROLE leaving'), undef, '... but can after DROP OWNED BY');

is(scalar(my @none = $receiver->requests('/anon')), 0, 'no request was sent for anon');
$node->log_is_sane;
done_testing();
