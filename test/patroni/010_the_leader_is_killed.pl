# Three servers that Patroni manages, with synchronous replication. The leader's postmaster is killed while 5,000 calls are
# queued and 200 are on the wire, and calls are made all the time. What was committed is delivered by the new leader, and what
# the ledger says is true. The jobs go on there, the old leader comes back as a standby, and leads again after a switchover.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Network;
use Wee5Cron::Test;
use Wee5Cron::Audit;
use Wee5Cron::Patroni;

if (my @missing = Wee5Cron::Patroni::missing_programs()) { plan skip_all => "not installed: @missing" }

my $cluster  = Wee5Cron::Patroni->start(members => [qw(a b c)], synchronous => 1);
my $receiver = Wee5Cron::Receiver->start(secret => 'the secret', address => $cluster->app_address);
my $first    = $cluster->node('a');
$first->install('postgres', api_url => $receiver->url, secret => 'the secret');
# Calls of this path are sent at most once, whatever happens.
$first->policy('postgres', '/once/hang', retry_on => 'never');

# Before.
my $before = Wee5Cron::Audit->new($first, 'postgres', $receiver);
$receiver->release_for_good;
$before->commit_calls(200);
$before->nothing_is_lost('calls before the failover');
is($before->repeats, 0, '... each of them sent once');
$first->safe_psql('postgres', "SELECT wee5_cron.schedule('tick', '* * * * *', '/status/200?tick')");

# The leader dies.
$receiver->hold;
my $during = Wee5Cron::Audit->new($first, 'postgres', $receiver);
$during->roll_back_calls(100);
$during->commit_calls(5_000);
$during->wait_for_wire(200);
$first->safe_psql('postgres', "SELECT count(invoke_cron_endpoint('/once/hang')) FROM generate_series(1, 20)");
$cluster->wait_for_synchronous;
$cluster->kill9('a');
my $next   = $cluster->wait_for_leader_besides('a', $during);
my $second = $cluster->node($next);
$second->wait_for_worker('postgres');
my $id = $cluster->call_of_an_app("/hang?$during->{name}-new-leader");
ok(defined $id, 'the new leader takes calls');
$during->was_committed($id);
$receiver->release_for_good;
$during->asks($second);
$during->nothing_is_lost('the leader is killed, and Patroni promotes its standby');
is($during->repeats, 200, '... and the 200 calls on the wire are sent again, because nobody knows how they ended');
my %once;
$once{ $_->{headers}{'idempotency-key'} }++ for $receiver->requests('/once/hang');
is_deeply([ values %once ], [ (1) x 20 ], "... and each call of the path with retry_on = 'never' is sent once");

# The job.
my $first_tick = $second->safe_psql('postgres', "SELECT max(id) FROM wee5_cron.invocation");
ok($second->poll_query_until('postgres', "SELECT count(*) > 0 FROM wee5_cron.invocation WHERE job_name = 'tick' AND status = 'succeeded' AND id > $first_tick"),
    'the job goes on at the new leader');
is($second->safe_psql('postgres', "SELECT string_agg(check_name || ': ' || detail, '; ') FROM wee5_cron.doctor() WHERE status = 'error'"), '',
    '... whose doctor() finds no error');
is($second->safe_psql('postgres', "SELECT status FROM wee5_cron.doctor() WHERE check_name = 'physical_clone'"), 'warning',
    '... and says that the server was promoted');

# The old leader comes back.
$cluster->wait_until_follows('a');
is($first->safe_psql('postgres', 'SELECT pg_is_in_recovery()'), 't', 'the old leader is a standby of the new one');
is($first->worker_pid('postgres'), '', '... and has no worker');
my $ledger = "SELECT md5(string_agg(i::text, chr(10) ORDER BY id)) FROM wee5_cron.invocation i WHERE id <= $id";
my $same = $second->safe_psql('postgres', $ledger);
ok($first->poll_query_until('postgres', $ledger, $same), '... with the same ledger');

# It leads again, by a switchover with calls on the wire. Patroni switches to a synchronous standby only.
$receiver->hold;
my $after = Wee5Cron::Audit->new($second, 'postgres', $receiver);
$after->commit_calls(1_000);
$after->wait_for_wire(200);
$cluster->wait_for_synchronous;
$cluster->switch_over($next);
my $third = $cluster->wait_for_leader_besides($next);
$cluster->node($third)->wait_for_worker('postgres');
$receiver->release_for_good;
$after->asks($cluster->node($third));
$after->nothing_is_lost('a switchover');
$cluster->wait_for_synchronous;
my $again = Wee5Cron::Audit->new($cluster->node($third), 'postgres', $receiver);
$again->commit_calls(200);
$again->nothing_is_lost('calls after it');
is($again->repeats, 0, '... each of them sent once');

# A machine is gone, with all that runs on it.
$cluster->wait_for_synchronous;
$cluster->power_off($third);
my $fourth = $cluster->wait_for_leader_besides($third);
$cluster->power_on($third);
$cluster->wait_until_follows($third);
my $gone = Wee5Cron::Audit->new($cluster->node($fourth), 'postgres', $receiver);
$gone->commit_calls(200);
$gone->nothing_is_lost('the machine of the leader is gone, and comes back');
is($gone->repeats, 0, '... each of them sent once');

$_->log_is_sane for $cluster->nodes;
done_testing();
