# Three servers that Patroni manages, with synchronous replication. The leader is cut off from the others, while it still
# reaches the app. It can commit nothing, and sends nothing new: neither what was queued nor what is new. The other side
# promotes a standby, which delivers everything. Nobody stops the old leader: its Patroni was killed.
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
# Calls of this path are sent at most once, whatever happens. They hang for as long as the others take.
$node->policy('postgres', '/once/hang', retry_on => 'never', timeout => '1 hour');
$node->policy('postgres', '/hang', timeout => '1 hour');
$node->safe_psql('postgres', "SELECT wee5_cron.schedule('tick', '* * * * *', '/status/200?tick')");

# 5,000 calls are queued and 200 are on the wire, with 20 that are sent at most once behind them.
sub many_calls {
    $receiver->hold;
    my $audit = Wee5Cron::Audit->new($node, 'postgres', $receiver);
    $audit->roll_back_calls(100);
    $audit->commit_calls(5_000);
    $audit->wait_for_wire(200);
    $node->safe_psql('postgres', "SELECT count(invoke_cron_endpoint('/once/hang')) FROM generate_series(1, 20)");
    return $audit;
}

sub sent_by {
    my ($name) = @_;
    my $address = $cluster->machine($name)->app_address;
    return scalar grep { $_->{from} eq $address } @{ $receiver->deliveries };
}

# The worker takes half a second to find that its standby is silent. It may send calls in this time that the new leader
# sends, too. Returns how many requests the worker has sent, when all of them have come to the app.
sub wait_until_it_stops_sending {
    my ($old, $audit) = @_;
    my $until  = time + $PostgreSQL::Test::Utils::timeout_default;
    my $worker = sub { $old->one_row('postgres', "SELECT * FROM wee5_cron.worker WHERE datname = 'postgres'") };
    until ($worker->()->{state} eq 'blocked') {
        die "it sends on and on\n" if time > $until;
        # A call that waits for no standby.
        $old->safe_psql('postgres', "SET synchronous_commit = local; SELECT invoke_cron_endpoint('/status/200?local')");
    }
    like($worker->()->{last_error}, qr/synchronous standby/, 'the worker of the isolated leader says that commits wait for a standby');
    my $sent = $receiver->wait_for_all_sent_by($old, 'postgres', $cluster->machine($old->name)->app_address);
    $audit->may_repeat(map { $_->{key} } $audit->deliveries);
    return $sent;
}

sub nothing_is_lost {
    my ($audit, $next, $name) = @_;
    $node = $cluster->node($next);
    $audit->asks($node);
    $audit->commit_calls(100, 'new-leader');
    $receiver->release_for_good;
    $audit->nothing_is_lost($name);
    my %once;
    $once{ $_->{headers}{'idempotency-key'} }++ for $receiver->requests('/once/hang');
    is(scalar(grep { $_ > 1 } values %once), 0, "... and no call of the path with retry_on = 'never' is sent twice");
    is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = '/once/hang' AND status <> 'succeeded'"), 0,
        '... and each is sent');
    return;
}

# The leader is cut off, and its Patroni is killed: it stays a primary, and another one is promoted.
my $audit = many_calls();
$cluster->wait_for_synchronous;
$cluster->kill9_patroni($leader);
$cluster->isolate($leader);
my $new_call = $node->background_psql('postgres', on_error_stop => 0);
$new_call->query_until(qr/asked/, "\\echo asked\nSELECT invoke_cron_endpoint('/status/200?isolated');\n");
# All on the wire are answered, twice. The second time, the worker knows that it can commit nothing.
$receiver->release;
my $sent = wait_until_it_stops_sending($node, $audit);
my $local = grep { $_->{url} =~ /local/ } $receiver->requests;
$receiver->release;
# Calls that are sent at most once keep their slots: they were claimed, and wait for the standby.
ok($node->poll_query_until('postgres', "SELECT in_flight <= 20 FROM wee5_cron.worker WHERE datname = 'postgres'"), '... and it takes the answers that come');
my $next = $cluster->wait_for_leader_besides($leader);
is($node->safe_psql('postgres', 'SELECT pg_is_in_recovery()'), 'f', 'there are two primaries');
$receiver->release_for_good;
# A tick of pg_cron passes on both.
my $other = $cluster->node($next);
my $now   = $other->safe_psql('postgres', 'SELECT now()');
ok($other->poll_query_until('postgres', "SELECT count(*) > 0 FROM wee5_cron.invocation WHERE job_name = 'tick' AND status = 'succeeded' AND scheduled_at > '$now'"),
    'the job goes on at the new leader');
is(sent_by($leader), $sent, 'the isolated leader has sent nothing more, for more than twenty seconds');
is(scalar(grep { $_->{url} =~ /isolated/ } $receiver->requests), 0, '... and no call that was made there is sent');
is(scalar(grep { $_->{url} =~ /local/ } $receiver->requests), $local, '... even if its session did not wait for the standby');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE '%isolated%'"), 1, '... because its commit does not return');
nothing_is_lost($audit, $next, 'the leader is cut off, without its Patroni');
# Where the server still runs as a primary, a new Patroni clears synchronous_standby_names before it stops it. So an
# administrator stops it first.
$cluster->kill9($leader);
eval { $new_call->quit };
$cluster->join_again($leader);
$cluster->start_patroni_again($leader);
$cluster->wait_until_follows($leader);
pass('the old leader comes back as a standby');
is(scalar(grep { $_->{url} =~ /isolated/ } $receiver->requests), 0, '... and what was made there alone is gone');

$_->log_is_sane for $cluster->nodes;
done_testing();
