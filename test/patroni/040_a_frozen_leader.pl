# Three servers that Patroni manages, with synchronous replication. The machine of the leader is frozen with 5,000 calls
# queued and 200 on the wire, and another server is promoted and delivers all. When the old leader thaws, it knows nothing of
# that, still has its queue, and its answers have come. It sends nothing more. Then a leader is cut off together with its
# Patroni, which makes it a standby.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Network;
use Wee5Cron::Test;
use Wee5Cron::Audit;
use Wee5Cron::Patroni;

if (my @missing = Wee5Cron::Patroni::missing_programs()) { plan skip_all => "not installed: @missing" }

my $cluster  = Wee5Cron::Patroni->start(members => [qw(a b c)], synchronous => 1);
my $receiver = Wee5Cron::Receiver->start(secret => 'the secret', address => $cluster->app_address);
my $leader   = 'a';
my $node     = $cluster->node($leader);
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');
# Calls of this path are sent at most once, whatever happens. The others hang for as long as a failover takes.
$node->policy('postgres', '/once/hang', retry_on => 'never', timeout => '1 hour');
$node->policy('postgres', '/hang', timeout => '1 hour');
$node->safe_psql('postgres', "SELECT wee5_cron.schedule('tick', '* * * * *', '/status/200?tick')");

sub sent_by {
    my ($name) = @_;
    my $address = $cluster->machine($name)->app_address;
    return scalar grep { $_->{from} eq $address } @{ $receiver->deliveries };
}

sub is_delivered_once {
    my ($audit, $name, $on_the_wire) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $audit->asks($node);
    $audit->commit_calls(100, 'new-leader');
    $receiver->release_for_good;
    $audit->nothing_is_lost($name);
    is($audit->repeats, $on_the_wire, '... and the calls on the wire are sent again, because nobody knows how they ended');
    return;
}

# The leader is frozen.
$receiver->hold;
my $frozen = Wee5Cron::Audit->new($node, 'postgres', $receiver);
$frozen->roll_back_calls(100);
$frozen->commit_calls(5_000);
$frozen->wait_for_wire(200);
$node->safe_psql('postgres', "SELECT count(invoke_cron_endpoint('/once/hang')) FROM generate_series(1, 20)");
$cluster->wait_for_synchronous;
my $sent = sent_by($leader);
$cluster->freeze($leader);
my $old = $leader;
$leader = $cluster->wait_for_leader_besides($old, $frozen);
$node   = $cluster->node($leader);
$node->wait_for_worker('postgres');
is_delivered_once($frozen, 'the leader is frozen', 200);
my %once;
$once{ $_->{headers}{'idempotency-key'} }++ for $receiver->requests('/once/hang');
is_deeply([ values %once ], [ (1) x 20 ], "... and each call of the path with retry_on = 'never' is sent once");
is(sent_by($old), $sent, '... and the frozen one has sent nothing since');

# It thaws. The new leader has done all that the old one has in its queue.
my $all = @{ $receiver->deliveries } - sent_by($leader);
$cluster->thaw($old);
$cluster->wait_until_follows($old);
is(@{ $receiver->deliveries } - sent_by($leader), $all, 'the old leader thaws, and sends nothing until it is a standby of the new one');
$frozen->nothing_is_lost('afterwards');
is($frozen->repeats, 200, '... and nothing else was sent twice');
is($cluster->node($old)->worker_pid('postgres'), '', '... and the standby has no worker');

# The leader is cut off from the other machines, with its Patroni, but not from the app. Of its slots, 100 are free.
$receiver->hold;
my $cut_off = Wee5Cron::Audit->new($node, 'postgres', $receiver);
$cut_off->commit_calls(100);
$cut_off->wait_for_wire(100);
$cluster->wait_for_synchronous;
$cluster->isolate($leader);
my $isolated = $node->background_psql('postgres', on_error_stop => 0);
$isolated->query_until(qr/asked/, "\\echo asked\nSELECT count(invoke_cron_endpoint('/status/200?isolated')) FROM generate_series(1, 500);\n");
$old    = $leader;
$leader = $cluster->wait_for_leader_besides($old, $cut_off);
$node   = $cluster->node($leader);
$node->wait_for_worker('postgres');
is_delivered_once($cut_off, 'the leader is cut off, with its Patroni', 100);
is(scalar(grep { $_->{url} =~ /isolated/ } $receiver->requests), 0, '... and no call that it could not replicate is sent');
eval { $isolated->quit };
# Its Patroni has made it a standby meanwhile, without asking anybody.
ok($cluster->node($old)->poll_query_until('postgres', 'SELECT pg_is_in_recovery()'), '... and the isolated server is no primary any more');
$cluster->join_again($old);
$cluster->wait_until_follows($old);
is(scalar(grep { $_->{url} =~ /isolated/ } $receiver->requests), 0, '... and when it is back, such a call is not sent either');
is($cluster->node($old)->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path LIKE '%isolated'"), 0, '... because its ledger is that of the new leader');
my $after = Wee5Cron::Audit->new($node, 'postgres', $receiver);
$after->commit_calls(200);
$after->nothing_is_lost('calls after it');
is($after->repeats, 0, '... each of them sent once');

$_->log_is_sane for $cluster->nodes;
done_testing();
