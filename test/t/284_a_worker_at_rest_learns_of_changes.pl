# What a worker at rest remembers, such as a policy, is invalidated at the end of a commit. It wakes after that, however long
# the commit takes: if it woke earlier, it would find nothing new and rest for good, or send the commit's calls as if the rest of
# the commit did not exist.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $slow_commit = "$PostgreSQL::Test::Utils::tmp_check/slow_commit.so";
system_or_bail('cc', '-shared', '-fPIC', '-O1', '-I' . (`pg_config --includedir-server` =~ s/\n//r), '-o', $slow_commit, "$FindBin::RealBin/../support/slow_commit.c");

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node     = Wee5Cron::Node->start_new('main', preload => "$slow_commit,pg_cron,wee5_cron");
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');

sub slowly { return $node->safe_psql('postgres', "SET slow_commit.rest = '500ms'; $_[0]") }

sub at_rest {
    return $node->poll_query_until('postgres', "SELECT state = 'idle' FROM wee5_cron.worker WHERE datname = 'postgres'");
}

# A policy that keeps calls for a shorter time.
$node->safe_psql('postgres', <<'SQL');
INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, requested_at, finished_at)
SELECT '/brief', 'builtin', 'succeeded', now() - interval '1 hour', now() - interval '1 hour' FROM generate_series(1, 5)
SQL
$node->finished('postgres', $node->call('postgres', '/turn'));
ok(at_rest(), 'the worker rests');
slowly(q{INSERT INTO wee5_cron.endpoint (endpoint_path, keep_succeeded) VALUES ('/brief', '1 minute')});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM wee5_cron.invocation WHERE endpoint_path = '/brief'}), 'it prunes by a policy whose commit takes long');

# A policy that lets more calls be in flight.
$node->policy('postgres', '/few/hang', max_in_flight => 1);
$node->safe_psql('postgres', "SELECT count(invoke_cron_endpoint('/few/hang')) FROM generate_series(1, 3)");
$receiver->wait_for_requests('/few/hang', 1);
slowly(q{UPDATE wee5_cron.endpoint SET max_in_flight = 3 WHERE endpoint_path = '/few/hang'});
ok($receiver->wait_for_requests('/few/hang', 3) == 3, 'it sends what waits by a policy whose commit takes long');

# The same commit makes a call and takes it back.
my $id = $node->safe_psql('postgres', "SET slow_commit.rest = '500ms'; BEGIN; SELECT invoke_cron_endpoint('/never') AS id \\gset\nSELECT wee5_cron.cancel(:id) AS c \\gset\nCOMMIT; SELECT :id");
fields_are($node->finished('postgres', $id), { status => 'cancelled', attempts => 0 }, 'a call that was cancelled in its transaction ends as cancelled, without an attempt');
is(scalar(my @never = $receiver->requests('/never')), 0, '... and it is not sent');

# The same commit limits the calls in flight and makes three. In one of the attempts no round through the ledger happens to find
# the calls while the commit rests.
my $by_policy = 0;
for my $path ('/one/hang', '/two/hang', '/three/hang') {
    slowly("BEGIN; INSERT INTO wee5_cron.endpoint (endpoint_path, max_in_flight) VALUES ('$path', 1); SELECT invoke_cron_endpoint('$path') FROM generate_series(1, 3); COMMIT");
    $receiver->wait_for_requests($path, 1);
    $node->finished('postgres', $node->call('postgres', '/turn'));
    $by_policy += (my @sent = $receiver->requests($path)) == 1;
}
cmp_ok($by_policy, '>', 0, 'calls are sent by the policy of their own transaction');

$receiver->release_for_good;
$node->wait_until_all_finished('postgres');

done_testing();
