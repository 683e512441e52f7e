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

# The view above sees what default privileges grant.
$node->safe_psql('postgres', 'CREATE FUNCTION public.canary() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$');
is($node->safe_psql('postgres', "SELECT has_function_privilege('anon', 'public.canary()', 'EXECUTE')"), 't', 'what supabase_admin makes is granted to anon by default');

# Installed by supabase_admin itself, when postgres already has one of the jobs.
$node->psql_as('postgres', 'postgres', q{SELECT cron.schedule('poll-activities', '0 0 1 1 *', 'SELECT 1')});
my (undef, undef, $notices) = $node->psql('postgres', 'CREATE EXTENSION wee5_cron SCHEMA extensions');
like($notices, qr/"poll-activities" already exists/, 'CREATE EXTENSION by supabase_admin leaves the job of postgres, and says so');
is(jobs(), 'daily-analytics/supabase_admin poll-activities/postgres welcome-emails/supabase_admin', '... and doubles none');
is(reach(@web, 'postgres'), '', 'none of its objects is within reach of anybody, whatever the defaults');
$node->raises('postgres', "SELECT extensions.invoke_cron_endpoint('/x')", '42501', 'not even of postgres', role => 'postgres');
$node->safe_psql('postgres', "SELECT wee5_cron.grant_to('postgres', 'operate')");
is($node->psql_as('postgres', 'postgres', 'SELECT wee5_cron.register_jobs()'), 0, '... before grant_to() lets it: its register_jobs() doubles none either');
is(jobs(), 'daily-analytics/supabase_admin poll-activities/postgres welcome-emails/supabase_admin', '... and takes none over');
is(reach(@web), '', '... and nobody else gains by it');
$node->safe_psql('postgres', 'DROP EXTENSION wee5_cron');
is(jobs(), 'poll-activities/postgres', 'DROP EXTENSION leaves the job of postgres');

# Installed by postgres through supautils, into a schema that PostgREST serves.
$node->psql_as('postgres', 'postgres', q{SELECT create_extension_as_superuser('CREATE EXTENSION wee5_cron SCHEMA public')});
is(jobs(), 'daily-analytics/postgres poll-activities/postgres welcome-emails/postgres', 'CREATE EXTENSION through supautils: the jobs belong to postgres');
is(reach(@web), '', 'none of its objects is within reach of anon, authenticated, service_role');
for my $statement (
    "SELECT public.invoke_cron_endpoint('/anon')", "SELECT wee5_cron.invoke('/anon')", "CALL wee5_cron.run('/anon')", 'SELECT wee5_cron.wait_for(1)',
    'SELECT * FROM wee5_cron.invocation', 'SELECT * FROM wee5_cron.job_status', 'SELECT * FROM wee5_cron.worker', 'SELECT wee5_cron.harvest()',
    "SELECT nextval('wee5_cron.invocation_id_seq')", "SELECT wee5_cron.grant_to('anon', 'operate')") {
    $node->raises('postgres', "SET ROLE anon; $statement", '42501', "anon: $statement", role => 'authenticator');
}

# postgres owns the database, and configures it once a superuser allows it.
my @set = map { "ALTER DATABASE postgres SET app.settings.$_" } 'api_url = \'' . $receiver->url . '\'', "cron_secret = 'the secret'";
$node->raises('postgres', $_, '42501', "the owner of the database without GRANT SET: $_", role => 'postgres') for @set;
$node->safe_psql('postgres', 'GRANT SET ON PARAMETER app.settings.api_url, app.settings.cron_secret TO postgres');
is($node->error_of('postgres', $_, role => 'postgres'), undef, "... and with it: $_") for @set;
$node->raises('postgres', "ALTER DATABASE postgres SET wee5_cron.allow_plain_http = 'on'", '42501', '... and no other setting', role => 'postgres');

# postgres operates without any further grant.
is($node->error_of('postgres', "CALL wee5_cron.run('/by-postgres')", role => 'postgres'), undef, 'postgres calls');
is(($receiver->requests('/by-postgres'))[0]{bearer}, 'match', '... with the bearer');
is($node->psql_as('postgres', 'postgres', "SELECT status FROM wee5_cron.invocation WHERE endpoint_path = '/by-postgres'"), 'succeeded', '... reads the ledger');
is($node->psql_as('postgres', 'postgres', 'SELECT string_agg(job_name, $$ $$ ORDER BY job_name) FROM wee5_cron.job_status'), 'daily-analytics welcome-emails',
    '... and the jobs that call');
my $id = $node->psql_as('postgres', 'postgres', "SELECT wee5_cron.run_now('welcome-emails')");
fields_are($node->finished('postgres', $id), { status => 'succeeded', job_name => 'welcome-emails', requested_by => 'postgres' }, '... runs a job by hand');
is($node->psql_as('postgres', 'postgres', 'SELECT wee5_cron.unregister_jobs(), wee5_cron.register_jobs()'), '2|2', '... works with jobs');
is($node->error_of('postgres', 'DELETE FROM wee5_cron.invocation', role => 'postgres')->{sqlstate}, '42501', '... but does not write the ledger');

# The privileges that postgres grants to others.
$node->psql_as('postgres', 'postgres', "SELECT wee5_cron.grant_to('service_role', 'call')");
$id = $node->psql_as('authenticator', 'postgres', "SET ROLE service_role; SELECT public.invoke_cron_endpoint('/by-service-role')");
fields_are($node->finished('postgres', $id), { status => 'succeeded', requested_by => 'authenticator' }, 'service_role calls when postgres has granted it');
$node->raises('postgres', 'SET ROLE service_role; SELECT * FROM wee5_cron.invocation', '42501', '... no more than that', role => 'authenticator');
is(reach(qw(anon authenticated)), '', '... and anon still reaches nothing');

# Roles that postgres creates later: a developer who reads, and has jobs of his own.
$node->psql_as('postgres', 'postgres', "CREATE ROLE developer LOGIN; SELECT wee5_cron.grant_to('developer', 'read')");
is($node->psql_as('developer', 'postgres', 'SELECT count(*) > 0 FROM wee5_cron.invocation'), 't', 'a role of postgres reads what it was let');
$node->safe_psql('postgres', 'GRANT USAGE ON SCHEMA cron TO developer');
$node->psql_as('developer', 'postgres', q{SELECT cron.schedule('welcome-emails', '0 0 1 1 *', $$SELECT invoke_cron_endpoint('/of-developer')$$)});
is($node->psql_as('postgres', 'postgres', 'SELECT wee5_cron.register_jobs(force => true)'), 0, "a job of that name that another role has later is not doubled");
$node->raises('postgres', "SELECT wee5_cron.run_now('welcome-emails')", '42P09', '... and run_now() asks which one', role => 'postgres');

# Taking it back. postgres has a profile because it created the extension.
my %profile_of = (developer => 'read', service_role => 'call', postgres => 'operate');
# postgres is a member of service_role.
for my $role (qw(developer service_role postgres)) {
    isnt(reach($role), '', "$role reaches something");
    $node->safe_psql('postgres', "SELECT wee5_cron.revoke_from('$role', '$profile_of{$role}')");
    is(reach($role), '', '... and nothing any more');
}
$node->safe_psql('postgres', "CREATE ROLE leaving; SELECT wee5_cron.grant_to('leaving', 'operate')");
is($node->error_of('postgres', 'DROP ROLE leaving')->{sqlstate}, '2BP01', 'a role that has a profile cannot be dropped');
is($node->error_of('postgres', 'DROP OWNED BY leaving; DROP ROLE leaving'), undef, '... until DROP OWNED BY has taken it back');

is(scalar(my @none = $receiver->requests('/anon')), 0, 'nothing was sent for anon');
$node->log_is_sane;
done_testing();
