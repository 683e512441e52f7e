# doctor() on pg_net: a stand-in that sends nothing, then the real one if the server has it. The test runs each hint as it
# stands, and the hint has to help.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Doctor;
use Wee5Cron::Test fixtures => ['pg_net'];

my $secret   = 'canary-of-the-doctor-6174';
my $receiver = Wee5Cron::Receiver->start(secret => $secret);
my $node     = Wee5Cron::Node->start_new('main');
$node->install('postgres', api_url => $receiver->url, secret => $secret);
$node->safe_psql('postgres', 'CREATE ROLE nobody LOGIN');
my $doctor = Wee5Cron::Doctor->new($node, 'postgres');
my $asked  = sub { $node->safe_psql('postgres', "ALTER DATABASE postgres SET wee5_cron.transport = '$_[0]'") };

# Configured, but not installed.
$asked->('pg_net');
$doctor->red_then_green('transport', 'error', qr/pg_net is not installed in this database/, 'transport = pg_net without pg_net');
$doctor->green('transport', 'transport = auto without pg_net', qr/calls use builtin: wee5_cron\.transport is auto, and pg_net is not installed/);
$doctor->green($_, "without pg_net", qr/^does not apply/) for qw(pg_net_worker pg_net_harvest pg_net_queue pg_net_tampering pg_net_readers);

# A schema of that name is not pg_net.
$node->safe_psql('postgres', 'CREATE SCHEMA net; CREATE TABLE net.http_request_queue (id int); CREATE TABLE net._http_response (id int)');
$doctor->green('pg_net_readers', "another role's schema net", qr/not installed/);
$node->safe_psql('postgres', 'DROP SCHEMA net CASCADE');

# Installed, but its worker does not run.
$node->safe_psql('postgres', "CREATE EXTENSION pg_net VERSION 'wee5fixture'");
$doctor->red_then_green('pg_net_worker', 'warning', qr/worker does not run here: calls use the builtin transport/, 'transport = auto with pg_net, whose worker does not run');
$asked->('pg_net');
$doctor->green('transport', 'transport = pg_net', qr/calls use pg_net: wee5_cron\.transport is pg_net/);
$doctor->red_then_green('pg_net_worker', 'error', qr/worker does not run here: calls stay queued/, 'transport = pg_net, whose worker does not run');
$asked->('pg_net');

# A call that stays in pg_net's queue.
my $id = $node->call('postgres', '/slow');
my $later = $node->call('postgres', '/slow', "at => now() + interval '1 day'");
$node->safe_psql('postgres', "UPDATE wee5_cron.invocation SET requested_at = now() - interval '6 minutes' WHERE id = $later");
$doctor->green('pg_net_queue', 'a call that is not due yet');
$node->safe_psql('postgres', "SELECT wee5_cron.cancel($later)");
$node->safe_psql('postgres', "UPDATE wee5_cron.pg_net_request SET handed_over_at = now() - interval '6 minutes' WHERE invocation_id = $id");
my $hint = $doctor->red('pg_net_queue', 'warning', qr/^calls that have waited at pg_net for more than five minutes: 1,/, 'a call that stays at pg_net');
$node->safe_psql('postgres', <<SQL);
BEGIN;
INSERT INTO net._http_response (id, status_code, created) SELECT request_id, 200, now() - interval '6 minutes' FROM wee5_cron.pg_net_request WHERE invocation_id = $id;
DELETE FROM net.http_request_queue;
COMMIT;
SQL
$doctor->paste($hint, "a call that stays in pg_net's queue: the hint harvests what pg_net has");
$node->finished('postgres', $id);
$doctor->green('pg_net_queue', 'after the hint');

# Triggers of other roles on the queue: pg_net lets every role create one.
for my $case (
    [ 'trigger "Spy"', <<'SQL', 'nobody' ],
CREATE TRIGGER "Spy" BEFORE INSERT ON net.http_request_queue FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
SQL
    [ 'rule "spy"', 'CREATE RULE spy AS ON INSERT TO net.http_request_queue DO ALSO SELECT 1' ],
    [ 'policy "spy"', 'CREATE POLICY spy ON net.http_request_queue' ],
    [ 'row level security', 'ALTER TABLE net.http_request_queue ENABLE ROW LEVEL SECURITY' ],
) {
    my ($what, $sql, $role) = @$case;
    $role ? $node->psql_as($role, 'postgres', $sql) : $node->safe_psql('postgres', $sql);
    $doctor->red_then_green('pg_net_tampering', 'error', qr/has \Q$what\E, which would see the bearer/, $what);
}

$node->safe_psql('postgres', 'CREATE TRIGGER "Spy" BEFORE INSERT ON net._http_response FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()');
$doctor->red_then_green('pg_net_tampering', 'warning', qr/_http_response has trigger "Spy", which may change or hide answers/, "a trigger on pg_net's answers");

# Which roles can read pg_net's tables.
$doctor->red_then_green('pg_net_readers', 'warning', qr/every role may read and change net\.http_request_queue/, "every role may read pg_net's tables");
$asked->('pg_net');
my ($revoke) = $doctor->red('pg_net_readers', 'warning', qr/./, '... once more') =~ /(REVOKE .*;)/;
$doctor->paste($revoke, "the other hint for pg_net's tables runs as SQL");
$doctor->green('pg_net_readers', 'after the other hint');
$node->raises('postgres', 'SELECT count(*) FROM net.http_request_queue', '42501', "after the other hint an ordinary role may not read pg_net's queue", role => 'nobody');
$node->call('postgres', '/after-the-revoke');
is($node->safe_psql('postgres', 'SELECT count(*) FROM net.http_request_queue'), 1, '... and calls still reach the queue');
$node->log_is_sane;
$node->stop;

SKIP: {
    skip 'pg_net not available', 1 unless pg_net_available();

    # Without our library, pg_net carries the calls, and a job records their answers.
    my $real = Wee5Cron::Node->start_new('real', preload => 'pg_cron,pg_net', conf => "pg_net.database_name = 'postgres'");
    $real->safe_psql('postgres', 'CREATE EXTENSION pg_net');
    $real->install('postgres', api_url => $receiver->url, secret => $secret);
    $real->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type ILIKE '%pg_net%'");
    my $doctor = Wee5Cron::Doctor->new($real, 'postgres');
    $doctor->green('transport', 'transport = auto with the real pg_net', qr/calls use pg_net: wee5_cron\.transport is auto, and pg_net is installed here and running/);
    $doctor->green('pg_net_worker', 'the real pg_net, whose worker runs');
    $doctor->green('pg_net_harvest', 'the harvest job', qr/a job records/);
    $real->safe_psql('postgres', "SELECT cron.unschedule('wee5-cron-harvest')");
    $doctor->red_then_green('pg_net_harvest', 'error', qr/nothing records/, 'the harvest job was removed');
    $doctor->red_then_green('pg_net_readers', 'warning', qr/every role/, "every role may read the real pg_net's tables");
    my $id = $real->call('postgres', '/after-the-revoke');
    is($real->safe_psql('postgres', "SELECT status FROM wee5_cron.wait_for($id)"), 'succeeded', 'after the hint calls are still answered');
    $doctor->red_then_green('library_preloaded', 'warning', qr/not in shared_preload_libraries/, 'the library is not preloaded', restart => 1);
    $doctor->green('pg_net_harvest', 'after the hint', qr/the worker records/);
    $real->log_is_sane;
}
done_testing();
