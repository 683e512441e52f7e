# A copy of a database, by dump and restore or as a template, makes no calls before arm(): its jobs and its queue belong to
# the original. A promoted standby, and a database with a new name, are the original.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $tmp      = PostgreSQL::Test::Utils::tempdir();
my $node     = Wee5Cron::Node->start_new('main', init => { allows_streaming => 1 });
$node->install('app', api_url => $receiver->url, secret => 'the secret');
$node->safe_psql('app', 'CREATE ROLE operator LOGIN; CREATE ROLE caller LOGIN');
$node->safe_psql('app', "SELECT wee5_cron.grant_to('operator', 'operate'), wee5_cron.grant_to('caller', 'call')");

# A call for later, one that waits behind another, a call whose app goes on with the work, and a claimed key.
$receiver->answers("$_/work", status => 202, headers => ['Wee5-Cron: accepted']) for '', '/restored', '/copied';
$node->policy('app', '/work', complete_within => '1 day', overlap => 'queue');
my $later   = $node->call('app', '/later', q{at => now() + interval '1 day', key => 'later'});
my $work    = $node->call('app', '/work');
$node->invocation_when('app', $work, "status = 'accepted'");
my $waiting = $node->call('app', '/work');
my $key     = $node->safe_psql('app', "SELECT idempotency_key FROM wee5_cron.invocation WHERE id = $work");
my $claimed = $node->safe_psql('app', 'SELECT gen_random_uuid()');
is($node->safe_psql('app', "SELECT wee5_cron.claim('$claimed', '1 day')"), 'new', 'claim() says new');

# One call on the wire, and one queued behind it.
my $hanging = $node->block_the_wire('app', $receiver);
my $queued  = $node->call('app', '/queued');
$node->invocation_when('app', $hanging, "status = 'sending'");

sub disarmed_ok {
    my ($server, $database, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $server->raises($database, "SELECT invoke_cron_endpoint('/more')", '55000', "$name: a call raises",
        message => qr/restored from a dump or copied/, hint => qr/SELECT wee5_cron\.arm\(\);/);
    $server->poll_query_until('postgres',
        "SELECT last_error LIKE 'disarmed: %SELECT wee5_cron.arm()' AND state = 'blocked' FROM wee5_cron.worker_slots() s JOIN pg_database d ON d.oid = datid WHERE datname = '$database'");
    fields_are($server->one_row($database, "SELECT state, last_error FROM wee5_cron.worker WHERE datname = '$database'"),
        { state => 'blocked', last_error => qr/^disarmed: .*arm\(\)$/ }, "$name: the worker's error says that the database is disarmed");
    my $line = $server->one_row($database, "SELECT * FROM wee5_cron.doctor() WHERE check_name = 'armed'");
    fields_are($line, { status => 'error', detail => qr/queued calls: 5$/, hint => qr/^SELECT wee5_cron\.arm\(\);$/m }, "$name: doctor() reports that the database is disarmed");
    is($server->safe_psql($database, 'SELECT wee5_cron.harvest()'), 0, "$name: harvest() records nothing");
    return;
}

# worker_slots() is asked in the database postgres.
$node->safe_psql('postgres', 'CREATE EXTENSION wee5_cron');

# Restored on the server of the original, whose queue is sent meanwhile.
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->configure('restored', api_url => $receiver->url . '/restored', secret => 'the secret');
command_ok([ qw(pg_dump -Fc -f), "$tmp/dump", $node->connstr('app') ], 'pg_dump succeeds');
command_ok([ qw(pg_restore --exit-on-error -d), $node->connstr('restored'), "$tmp/dump" ], 'pg_restore succeeds');
$node->wait_for_worker('restored');
disarmed_ok($node, 'restored', 'restored');
# The copy would look for pg_net's requests in vain, and record them as lost.
$node->safe_psql('restored', "UPDATE wee5_cron.invocation SET transport = 'pg_net' WHERE id = $hanging");
is($node->safe_psql('restored', 'SELECT wee5_cron.harvest()'), 0, 'a restored call of pg_net is not harvested either');
$node->safe_psql('restored', "UPDATE wee5_cron.invocation SET transport = 'builtin' WHERE id = $hanging");

# A copy of the files has another oid.
$node->safe_psql('postgres', 'CREATE DATABASE copied TEMPLATE app');
$node->configure('copied', api_url => $receiver->url . '/copied', secret => 'the secret');
$node->wait_for_worker('copied');
disarmed_ok($node, 'copied', 'copied');

# The original is unaffected.
$receiver->release_for_good;
is($node->finished('app', $queued)->{status}, 'succeeded', 'the original sends its queued call');
is(scalar(() = $receiver->requests(qr{^/(?:restored|copied)/})), 0, 'the copies sent nothing');

# Operators may use arm().
$node->raises('restored', 'SELECT wee5_cron.arm()', '42501', 'a caller may not use arm()', role => 'caller');
$node->psql_as('operator', $_, 'SELECT wee5_cron.arm()') for qw(restored copied);
for my $database (qw(restored copied)) {
    is($node->finished($database, $queued)->{status}, 'succeeded', "$database, after arm(): the queued call succeeds");
    is($node->finished($database, $node->call($database, '/new'))->{status}, 'succeeded', '... and new calls succeed');
    is($node->safe_psql($database, "SELECT status FROM wee5_cron.doctor() WHERE check_name = 'armed'"), 'ok', '... and doctor() reports the database as armed');
    is($node->safe_psql($database, "SELECT coalesce(last_error, '') FROM wee5_cron.worker WHERE datname = '$database'"), '', '... and the worker has no error');
    is($node->safe_psql($database, 'SELECT DISTINCT armed_by FROM wee5_cron.armed'), 'operator', '... and the mark names the role that armed it');
    fields_are($node->invocation($database, $later), { status => 'queued', attempts => 0, key => 'later' }, '... and the call for later waits');
    fields_are($node->invocation($database, $work), { status => 'accepted' }, '... and the accepted call waits for complete()');
    is($node->safe_psql($database, "SELECT wee5_cron.complete('$key')"), 't', '... which ends it');
    fields_are($node->invocation_when($database, $waiting, "status = 'accepted'"), { attempts => 1 }, '... so that the call behind it is sent');
    is($node->safe_psql($database, "SELECT wee5_cron.claim('$claimed')"), $database eq 'restored' ? 'new' : 'running', '... and only the copy of the files has the claim');
}
is($node->safe_psql('app', "SELECT status FROM wee5_cron.invocation WHERE id = $work"), 'accepted', 'none of this concerns the original');
$node->safe_psql('restored', 'SELECT wee5_cron.arm()');
is($node->safe_psql('restored', 'SELECT DISTINCT armed_by FROM wee5_cron.armed'), 'operator', 'a second arm() changes nothing');

# In the same transaction as the first call.
$node->safe_psql('postgres', 'CREATE DATABASE copied_again TEMPLATE app');
$node->configure('copied_again', api_url => $receiver->url, secret => 'the secret');
like($node->safe_psql('copied_again', "BEGIN; SELECT wee5_cron.arm(); SELECT invoke_cron_endpoint('/x') > 0; ROLLBACK"), qr/^t$/m,
    'arm() applies in its own transaction');
$node->raises('copied_again', "SELECT invoke_cron_endpoint('/x')", '55000', '... and not after its rollback');

# CREATE EXTENSION after DROP EXTENSION is not a restore.
$node->safe_psql('copied_again', "DROP EXTENSION wee5_cron; CREATE EXTENSION wee5_cron");
is($node->finished('copied_again', $node->call('copied_again', '/anew'))->{status}, 'succeeded', 'a database is armed after CREATE EXTENSION');

# A new name.
$node->safe_psql('postgres', 'ALTER DATABASE app RENAME TO renamed');
is($node->finished('renamed', $node->call('renamed', '/renamed'))->{status}, 'succeeded', 'a renamed database stays armed');

# Promotion.
$node->backup('base');
my $standby = Wee5Cron::Node->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
$node->stop;
$standby->promote;
$standby->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
fields_are($standby->invocation('renamed', $later), { status => 'queued', attempts => 0 }, 'after a promotion a call for later waits');
is($standby->safe_psql('renamed', "SELECT wee5_cron.claim('$claimed')"), 'running', '... and a claimed key is still claimed');
is($standby->safe_psql('renamed', "SELECT wee5_cron.complete('$key')"), 't', '... and complete() ends an accepted call');
fields_are($standby->invocation_when('renamed', $waiting, "status = 'accepted'"), { attempts => 1 }, '... so that the call behind it is sent');
$standby->safe_psql('renamed', "UPDATE wee5_cron.invocation SET next_attempt_at = now() WHERE id = $later; SELECT wee5_cron.wake_worker()");
fields_are($standby->finished('renamed', $later), { status => 'succeeded', attempts => 1 }, '... and when its time has come, the call for later is sent');
is($standby->finished('renamed', $standby->call('renamed', '/promoted'))->{status}, 'succeeded', 'a promoted standby stays armed');

$_->log_is_sane($_->name . ': the log records no crash') for $node, $standby;
done_testing();
