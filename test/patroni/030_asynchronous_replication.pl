# Three servers that Patroni manages, with asynchronous replication. What the standbys had received is delivered; what they
# had not received is gone, and nothing else. A leader that is cut off goes on making calls, since its commits wait for
# nobody. Then two primaries run the same jobs, and the app can tell by the Idempotency-Key that a tick comes twice.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Network;
use Wee5Cron::Test;
use Wee5Cron::Audit;
use Wee5Cron::Patroni;

if (my @missing = Wee5Cron::Patroni::missing_programs()) { plan skip_all => "not installed: @missing" }

my $cluster  = Wee5Cron::Patroni->start(members => [qw(a b c)]);
my $receiver = Wee5Cron::Receiver->start(secret => 'the secret', address => $cluster->app_address);
my $first    = $cluster->node('a');
$first->install('postgres', api_url => $receiver->url, secret => 'the secret');
$first->safe_psql('postgres', "SELECT wee5_cron.schedule('tick', '* * * * *', '/status/200?tick')");

# All standbys have received what the leader has committed so far.
sub standbys_have_caught_up {
    my ($node) = @_;
    my $position = $node->safe_psql('postgres', 'SELECT pg_current_wal_flush_lsn()');
    $node->poll_query_until('postgres', "SELECT count(*) = 2 FROM pg_stat_replication WHERE flush_lsn >= '$position'") or die "they lag\n";
    return;
}

# The leader dies: with what the standbys have, nothing is lost.
$receiver->hold;
my $audit = Wee5Cron::Audit->new($first, 'postgres', $receiver);
$audit->roll_back_calls(100);
$audit->commit_calls(5_000);
$audit->wait_for_wire(200);
standbys_have_caught_up($first);
# These, the standbys never get. They are lost, and nothing is sent for them, because no slot is free.
my @walsenders = split /\n/, $first->safe_psql('postgres', 'SELECT pid FROM pg_stat_replication');
kill 'STOP', @walsenders;
$first->safe_psql('postgres', "SELECT count(invoke_cron_endpoint('/status/200?unreceived')) FROM generate_series(1, 100)");
$cluster->kill9('a');
kill 'KILL', @walsenders;
my $leader = $cluster->wait_for_leader_besides('a');
my $node   = $cluster->node($leader);
$receiver->release_for_good;
$audit->asks($node);
$audit->nothing_is_lost('the leader is killed, and its standbys had received everything of this');
is($audit->repeats, 200, '... and the 200 calls on the wire are sent again, because nobody knows how they ended');
is(scalar(grep { $_->{url} =~ /unreceived/ } $receiver->requests), 0, 'calls that no standby had received are lost');
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path LIKE '%unreceived'"), 0, '... and the ledger does not know them either');
$cluster->wait_until_follows('a');

# Two primaries: the leader is cut off, and nobody stops it.
$cluster->freeze_patroni($leader);
$cluster->isolate($leader);
my $other = $cluster->node($cluster->wait_for_leader_besides($leader));
my $both_lead = $other->safe_psql('postgres', 'SELECT now()');
is($node->safe_psql('postgres', 'SELECT pg_is_in_recovery()'), 'f', 'there are two primaries');
my $tick = "SELECT scheduled_at, idempotency_key AS key FROM wee5_cron.invocation"
  . " WHERE job_name = 'tick' AND status = 'succeeded' AND scheduled_at > '$both_lead' ORDER BY scheduled_at LIMIT 1";
for my $primary ($node, $other) {
    ok($primary->poll_query_until('postgres', "SELECT count(*) = 1 FROM ($tick) t"), '... and a job runs on ' . $primary->name);
}
my ($here, $there) = map { $_->one_row('postgres', $tick) } $node, $other;
is($here->{scheduled_at}, $there->{scheduled_at}, '... for the same tick');
is($here->{key}, $there->{key}, '... with the same Idempotency-Key');
my %from;
$from{ $_->{from} }++ for grep { $_->{key} eq $here->{key} } @{ $receiver->deliveries };
is_deeply(\%from, { map { $cluster->machine($_->name)->app_address => 1 } $node, $other }, '... so that the app can tell that it comes twice');
my @keys = map { $_->call('postgres', '/status/200?by-hand') } $node, $other;
isnt($node->invocation('postgres', $keys[0])->{idempotency_key}, $other->invocation('postgres', $keys[1])->{idempotency_key},
    'calls by hand on two primaries are different calls');

# Patroni goes on, and finds that its server leads no longer.
$cluster->machine($leader)->signal('CONT');
$cluster->join_again($leader);
$cluster->wait_until_follows($leader);
is($other->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE idempotency_key = '$here->{key}'"), 1,
    'afterwards the ledger has the tick once');
is($node->safe_psql('postgres', 'SELECT pg_is_in_recovery()'), 't', '... and one server leads');
my $after = Wee5Cron::Audit->new($other, 'postgres', $receiver);
$after->commit_calls(200);
$after->nothing_is_lost('calls after it');
is($after->repeats, 0, '... each of them sent once');

$_->log_is_sane for $cluster->nodes;
done_testing();
