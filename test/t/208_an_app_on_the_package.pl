# cron() of packages/wee5-cron with `once` and run.later(), on the functions claim() and complete(); and the package's client,
# with each driver.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;
use Wee5Cron::PackageApp;

my $missing = Wee5Cron::PackageApp::missing();
plan skip_all => $missing if $missing;

my $node = Wee5Cron::Node->start_new('main');
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN; CREATE TABLE work (path text); GRANT SELECT, INSERT ON work TO app');
my $app = Wee5Cron::PackageApp->start(secret => 'the bearer', node => $node, database => 'postgres', role => 'app');
$node->install('postgres', api_url => $app->url, secret => 'the bearer');
$node->safe_psql('postgres', "SELECT wee5_cron.grant_to('app', 'app')");
$node->no_retries('postgres', qw(/once /once-that-fails));

my $done = sub { $node->safe_psql('postgres', "SELECT count(*) FROM work WHERE path = '$_[0]'") };
# The work waits until this session releases the lock.
my $gate = $node->background_psql('postgres');
$gate->query_safe('SELECT pg_advisory_lock(207)');

# Work that goes on after the answer.
my $later = $node->call('postgres', '/later');
fields_are($node->invocation_when('postgres', $later, "status = 'accepted'"), { http_status => 202, finished_at => undef }, 'run.later() leaves the call accepted');
is($done->('/later'), 0, '... and its work is not done yet');
my $failed = $node->call('postgres', '/later-that-fails');
fields_are($node->finished('postgres', $failed), { status => 'failed', reason => 'incomplete', error => 'The work failed after the answer: RangeError' }, 'work that fails after the answer fails the call, without the text of the error');

# Work that is done once per key.
my $first = $node->call('postgres', '/once');
$node->poll_query_until('postgres', "SELECT count(*) = 2 FROM pg_locks WHERE locktype = 'advisory' AND objid = 207 AND NOT granted") or die;
my $key = $node->safe_psql('postgres', "SELECT idempotency_key FROM wee5_cron.invocation WHERE id = $first");
is($node->safe_psql('postgres', "SELECT wee5_cron.claim('$key')"), 'running', 'once claims the key of the call');
$gate->query_safe('SELECT pg_advisory_unlock(207)');
is($node->finished('postgres', $later)->{status}, 'succeeded', 'the call of the long work succeeds when the work is done');
fields_are($node->finished('postgres', $first), { status => 'succeeded', http_status => 200 }, 'the first call with the key does the work');
is($node->safe_psql('postgres', "SELECT wee5_cron.claim('$key')"), 'done', '... and completes the key');
my $again = $node->safe_psql('postgres', "SELECT wee5_cron.retry($first)");
fields_are($node->finished('postgres', $again), { status => 'succeeded', http_status => 200 }, 'a second call with the same key is answered');
is($done->('/once'), 1, '... and does not repeat the work');
is($done->('/later'), 1, 'the work of run.later() was done once, too');

# Work that failed can be done again.
my $refused = $node->call('postgres', '/once-that-fails');
fields_are($node->finished('postgres', $refused), { status => 'failed', http_status => 500, response_body => qr/^(?!.*the secret of the app)/s }, 'a handler that throws fails the call');
my $freed = $node->safe_psql('postgres', "SELECT idempotency_key FROM wee5_cron.invocation WHERE id = $refused");
is($node->safe_psql('postgres', "SELECT wee5_cron.claim('$freed')"), 'new', '... and releases the key');

# The client.
$node->safe_psql('postgres', "CREATE ROLE operator LOGIN; SELECT wee5_cron.grant_to('operator', 'operate')");
is(Wee5Cron::PackageApp::use_the_client($node, 'postgres', 'operator'), "ok - pg\nok - postgres.js", 'the client calls every function with each driver');

$gate->quit;
$node->log_is_sane;
$node->stop;
done_testing();
