# What grant_to() gives, what nobody has without it, and how one waits for a call.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Node->start_new('main');
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');
$node->safe_psql('postgres', 'CREATE ROLE caller LOGIN; CREATE ROLE reader LOGIN; CREATE ROLE operator LOGIN; CREATE ROLE nobody LOGIN');
$node->safe_psql('postgres', "SELECT wee5_cron.grant_to('caller', 'call'); SELECT wee5_cron.grant_to('reader', 'read');"
      . "SELECT wee5_cron.grant_to('operator', 'operate')");

# A caller calls.
my $id = $node->psql_as('caller', 'postgres', "SELECT invoke_cron_endpoint('/by-caller')");
my $row = $node->finished('postgres', $id);
fields_are($row, { status => 'succeeded', requested_by => 'caller' }, 'a role with the profile call calls');
is(($receiver->requests('/by-caller'))[0]{bearer}, 'match', '... with the secret that it cannot see');
$id = $node->psql_as('caller', 'postgres', "SELECT wee5_cron.invoke('/posted', 'POST', '{\"a\": 1}')");
is($node->psql_as('caller', 'postgres', "SELECT status FROM wee5_cron.wait_for($id)"), 'succeeded', '... with invoke() and wait_for() too');
$node->raises('postgres', 'SELECT * FROM wee5_cron.invocation', '42501', '... but does not read the ledger', role => 'caller');
$node->raises('postgres', 'SELECT * FROM wee5_cron.worker', '42501', '... nor the worker', role => 'caller');
$node->raises('postgres', 'SELECT wee5_cron.register_jobs()', '42501', '... nor makes jobs', role => 'caller');

# A reader reads.
is($node->psql_as('reader', 'postgres', "SELECT status FROM wee5_cron.invocation WHERE id = $id"), 'succeeded', 'a reader reads the ledger');
is($node->psql_as('reader', 'postgres', 'SELECT count(*) FROM wee5_cron.attempt'), 2, '... the attempts');
is($node->psql_as('reader', 'postgres', 'SELECT datname FROM wee5_cron.worker'), 'postgres', '... the worker');
is($node->psql_as('reader', 'postgres', 'SELECT count(*) FROM wee5_cron.job_status'), 0, '... and the jobs');
$node->raises('postgres', 'DELETE FROM wee5_cron.invocation', '42501', '... and changes nothing', role => 'reader');

# Nobody else.
for my $statement (
    "SELECT invoke_cron_endpoint('/x')",
    "SELECT wee5_cron.invoke('/x')",
    'SELECT wee5_cron.wait_for(1)',
    'SELECT * FROM wee5_cron.invocation',
    'SELECT * FROM wee5_cron.job_status',
    'SELECT * FROM wee5_cron.worker_slots()',
    'SELECT wee5_cron.harvest()',
    "SELECT wee5_cron.grant_to('nobody', 'call')",
    "SELECT wee5_cron.run_now('x')") {
    $node->raises('postgres', $statement, '42501', "a role without a grant: $statement", role => 'nobody');
}
is(scalar(my @none = $receiver->requests('/x')), 0, 'and nothing was sent for it');
is($node->error_of('postgres', 'SELECT wee5_cron.harvest()', role => 'operator'), undef, 'an operator operates');

# wait_for.
$node->raises('postgres', "SELECT wee5_cron.wait_for(wee5_cron.invoke('/own'))", '55000',
    'wait_for of the own transaction would wait for ever: an error', hint => qr/\w/);
$node->raises('postgres', "BEGIN; SAVEPOINT a; SELECT invoke_cron_endpoint('/own') AS id \\gset\nSELECT wee5_cron.wait_for(:id)", '55000',
    '... also from a savepoint');
$node->raises('postgres', 'SELECT wee5_cron.wait_for(987654321)', '02000', 'an unknown id', message => qr/987654321/);
$node->raises('postgres', 'SELECT wee5_cron.wait_for(NULL)', '22004', 'NULL');

$id = $node->call('postgres', '/hang');
is($node->safe_psql('postgres', "SELECT id, finished_at IS NULL FROM wee5_cron.wait_for($id, '200 ms')"), "$id|t",
    'at the timeout wait_for returns the row as it stands');
$node->raises('postgres', "SET statement_timeout = '200 ms'; SELECT wee5_cron.wait_for($id, '1 hour')", '57014', 'it can be cancelled');

# One that began before the row existed, at an isolation level that does not see it.
for my $level ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE') {
    my $path    = '/hang?' . lc($level =~ s/ /-/gr);
    my $session = $node->background_psql('postgres');
    $session->query_safe("BEGIN ISOLATION LEVEL $level; SELECT count(*) FROM wee5_cron.invocation");
    my $before = () = $receiver->requests('/hang');
    my $late = $node->call('postgres', $path);
    my $pid  = $session->query_safe('SELECT pg_backend_pid()');
    $session->query_until(qr/asked/, "\\echo asked\nSELECT 'got ' || status || ' ' || http_status FROM wee5_cron.wait_for($late);\n");
    $node->poll_query_until('postgres',
        "SELECT state = 'active' AND wait_event IS NOT NULL FROM pg_stat_activity WHERE pid = $pid AND query LIKE '%wait_for%'")
      or die "wait_for does not wait\n";
    $receiver->wait_for_requests('/hang', $before + 1);
    $receiver->release(201);
    like($session->query_until(qr/^got .*$/m, ''), qr/^got succeeded 201$/m, "wait_for in $level returns the row when it has ended");
    $session->query_safe('COMMIT');
    $session->quit;
}
is($node->finished('postgres', $id)->{status}, 'succeeded', 'the first one has ended as well');
is($node->safe_psql('postgres', "SELECT status FROM wee5_cron.wait_for($id, '0')"), 'succeeded', 'wait_for of a call that has ended returns at once');

# Many waiters, and a wait that begins before the sending.
my $waiter = $node->background_psql('postgres');
$id = $node->safe_psql('postgres', "SELECT invoke_cron_endpoint('/quick')");
is($waiter->query_safe("SELECT status, http_status FROM wee5_cron.wait_for($id)"), 'succeeded|200', 'the row of a quick call');
$waiter->quit;

$node->log_is_sane;
done_testing();
