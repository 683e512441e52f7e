# A copy of a database with the portable edition makes no calls: a dump, a template, and the file copies that a host makes
# when it restores a project or creates a branch.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test fixtures => [ 'pg_net', 'supabase_vault' ];
use Wee5Cron::Hosted;

my $secret   = 'canary-of-the-portable-copies';
my $receiver = Wee5Cron::Receiver->start(secret => $secret);
my $node     = Wee5Cron::Hosted->start_new('main');
$node->install_portable;
$node->as_owner("SELECT wee5_cron.set('default_jobs', 'off'); SELECT wee5_cron.configure('@{[ $receiver->url ]}', '$secret')");
$node->remove_harvest_job;
$node->policy('postgres', '/status/200', max_attempts => 1);

sub may_call {
    my ($on) = @_;
    return $on->safe_psql('postgres', 'SELECT wee5_cron.may_call()');
}
is(may_call($node), 't', 'the original makes calls');
$node->safe_psql('postgres', "VACUUM (FREEZE) wee5_cron.armed");
is(may_call($node), 't', '... even after its mark is frozen');

# disarm() and arm().
$node->as_owner("SELECT wee5_cron.disarm('a test')");
$node->raises('postgres', "SELECT invoke_cron_endpoint('/x')", '55000', 'disarmed', role => 'postgres', message => qr/is disarmed and makes no calls/);
$node->as_owner('SELECT wee5_cron.arm()');
is(may_call($node), 't', 'after arm() the database makes calls again');

# By SQL.
$node->safe_psql('postgres', 'CREATE TABLE public.saved AS SELECT * FROM wee5_cron.armed; DELETE FROM wee5_cron.armed; INSERT INTO wee5_cron.armed SELECT * FROM public.saved');
$node->raises('postgres', "SELECT invoke_cron_endpoint('/x')", '55000', 'rows that a restore wrote', role => 'postgres', message => qr/restored from a dump or copied/);

# A restore gives the API's roles what default privileges grant them.
my $callers = q{SELECT string_agg(r.rolname, ' ' ORDER BY r.rolname) FROM pg_roles r WHERE r.rolname IN ('anon', 'authenticated', 'service_role', 'app') AND (has_function_privilege(r.oid, 'public.invoke_cron_endpoint(text)', 'EXECUTE') OR has_table_privilege(r.oid, 'wee5_cron.invocation', 'SELECT'))};
$node->as_owner("CREATE ROLE app LOGIN; SELECT wee5_cron.grant_to('app', 'call'); GRANT EXECUTE ON FUNCTION public.invoke_cron_endpoint(text) TO anon, authenticated, service_role; GRANT SELECT ON ALL TABLES IN SCHEMA wee5_cron TO anon, authenticated");
is($node->as_owner($callers), 'anon app authenticated service_role', 'a restore grants execution to the roles of the API');
like($node->as_owner("SELECT string_agg(status, ' ') FROM wee5_cron.doctor() WHERE check_name = 'callers' AND detail LIKE 'role anon may use %'"), qr/^error/, '... and doctor() reports it');
$node->as_owner('SELECT wee5_cron.arm()');
is($node->as_owner($callers), 'app', 'arm() revokes that, and keeps what grant_to() granted');

$node->as_owner("SELECT wee5_cron.set('alert_url', '@{[ $receiver->url ]}/status/204?copied')");

# Copied files: a promoted copy has the same system identifier and another timeline.
$node->backup('base');
my $copy = Wee5Cron::Hosted->new('copy');
$copy->{real_pg_net} = $node->{real_pg_net};
$copy->init_from_backup($node, 'base', has_streaming => 1);
$copy->start;
$node->wait_for_catchup($copy, 'replay', $node->lsn('insert'));
$copy->promote;
$copy->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
$copy->raises('postgres', "SELECT invoke_cron_endpoint('/x')", '55000', 'a copy of the files raises at once', role => 'postgres', message => qr/copied with its files or recovered/, hint => qr/SELECT wee5_cron\.arm\(\);/);
like($copy->as_owner("SELECT status || ' ' || detail FROM wee5_cron.doctor() WHERE check_name = 'physical_clone'"), qr/^error .*copied with its files/, '... and doctor() reports the copied files');
# A user's trigger on pg_net's queue stops the alert, and nothing else.
$copy->safe_psql('postgres', 'CREATE FUNCTION public.spy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$; CREATE TRIGGER spy BEFORE INSERT ON net.http_request_queue FOR EACH ROW EXECUTE FUNCTION public.spy()');
# Two harvests at once, by pg_cron and by hand: the second one has seen the copied mark, and waits for the first.
my @harvests = map { $copy->background_psql('postgres', extra_params => [ '-U', 'postgres' ]) } 1, 2;
$harvests[0]->query_safe('BEGIN; SELECT wee5_cron.harvest()');
$harvests[1]->query_until(qr/begins/, "\\echo begins\nSELECT wee5_cron.harvest();\n");
ok($copy->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_locks WHERE relation = 'wee5_cron.armed'::regclass AND NOT granted"), 'a second harvest waits for the one that disarms the copy');
$harvests[0]->query_safe('COMMIT');
$_->quit for @harvests;
is($copy->safe_psql('postgres', "SELECT string_agg(xid::text, ',') FROM wee5_cron.armed"), '0', 'the next harvest disarms the copy for good');
is($copy->as_owner("SELECT count(*) || status || error FROM wee5_cron.invocation WHERE endpoint_path = 'wee5_cron.alert' GROUP BY status, error"), '1failednet.http_request_queue has a trigger', '... and makes one alert, whose row says why it cannot be sent');
$copy->safe_psql('postgres', 'DROP TRIGGER spy ON net.http_request_queue');
$copy->as_owner('SELECT wee5_cron.harvest()');
is($copy->as_owner("SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = 'wee5_cron.alert'"), 1, '... and makes no second alert');
$copy->as_owner('SELECT wee5_cron.arm()');
is(may_call($copy), 't', 'after arm() the copy makes calls');
is(may_call($node), 't', '... and the original still makes calls');

# The same if the owner wants calls to be made after a failover.
$node->as_owner("SELECT wee5_cron.set('on_physical_copy', 'continue')");
# The database looks as if it had been armed on another timeline or another server.
sub armed_elsewhere {
    my ($what) = @_;
    $node->safe_psql('postgres', <<"SQL");
BEGIN;
CREATE TABLE public.arming_id AS SELECT id FROM wee5_cron.arming;
ALTER FUNCTION wee5_cron.server_identity() RENAME TO true_identity;
CREATE FUNCTION wee5_cron.server_identity(OUT system_identifier bigint, OUT timeline int) LANGUAGE sql STABLE AS \$\$ SELECT $what FROM wee5_cron.true_identity() t \$\$;
SELECT wee5_cron.write_mark(now(), 'postgres', (SELECT id FROM public.arming_id));
DROP FUNCTION wee5_cron.server_identity();
ALTER FUNCTION wee5_cron.true_identity() RENAME TO server_identity;
DROP TABLE public.arming_id;
COMMIT;
SQL
    return;
}
armed_elsewhere('t.system_identifier, t.timeline + 1');
is(may_call($node), 't', "with on_physical_copy = 'continue' a database on another timeline makes calls");
$node->as_owner('SELECT wee5_cron.harvest()');
is($node->safe_psql('postgres', 'SELECT wee5_cron.identity_since_armed()'), 'same', '... and the next harvest stores the new identity');
$node->as_owner("SELECT wee5_cron.set('on_physical_copy', 'stop')");
armed_elsewhere('t.system_identifier + 1, t.timeline');
is(may_call($node), 't', 'another system identifier means pg_upgrade, so the database makes calls');
$node->as_owner('SELECT wee5_cron.harvest()');
is($node->safe_psql('postgres', 'SELECT wee5_cron.identity_since_armed()'), 'same', '... and the next harvest stores the new identity');

# A host that lets no role read the identity.
$node->safe_psql('postgres', 'REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC');
is($node->as_owner('SELECT wee5_cron.may_call()'), 't', 'an identity that cannot be read counts as unchanged');
like($node->as_owner("SELECT status || ' ' || detail FROM wee5_cron.doctor() WHERE check_name = 'physical_clone'"), qr/^warning not known/, '... and doctor() warns that it is unknown');
$node->log_is_sane;
done_testing();
