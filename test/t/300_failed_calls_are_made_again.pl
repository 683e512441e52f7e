# A failed call is retried by the policy of its path: when, how often, and what its rows say meanwhile.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Editions;
use Wee5Cron::Test;

my $secret   = 'canary-of-retries-815';
my $receiver = Wee5Cron::Receiver->start(secret => $secret);
my $node     = Wee5Cron::Editions->start_node('main');
$node->install('postgres', api_url => $receiver->url, secret => $secret);
my $worker = $node->is_portable ? '' : $node->wait_for_worker('postgres');

# The requests of a call, by attempt.
sub arrivals {
    my ($path) = @_;
    return map { $_->{headers}{'x-wee5-cron-attempt'} } $receiver->requests($path);
}

# By default, a 503 is retried after ten seconds, and the row says so.
my $id  = $node->call('postgres', '/statuses/503,200');
my $row = $node->invocation_when('postgres', $id, "status = 'retrying'");
fields_are(
    $row,
    {
        attempts    => 1,
        reason      => 'http',
        http_status => 503,
        error       => qr/503/,
        finished_at => undef,
        duration    => undef,
        first_sent_at   => $node->is_portable ? undef : qr/^2/,
        next_attempt_at => qr/^2/,
    },
    'the row of a call to be retried says why and when');
my $wait = 'extract(epoch FROM i.next_attempt_at - a.finished_at)';
is($node->safe_psql('postgres', "SELECT $wait BETWEEN 8 AND 12 FROM wee5_cron.invocation i JOIN wee5_cron.attempt a ON a.invocation_id = i.id WHERE i.id = $id"),
    't', 'the first delay is ten seconds, plus or minus a fifth');
fields_are($node->one_row('postgres', "SELECT * FROM wee5_cron.wait_for($id, '10 ms')"), { status => 'retrying' }, 'wait_for() does not count a call to be retried as ended');

# The test waits for no delay but the first: an endpoint row makes the others short.
my @unprocessed = ('/statuses/503,429,200', '/statuses/429,503,503,200');
for my $path (@unprocessed) {
    $node->policy('postgres', $path, retry_delays => '{100ms}');
    $id = $node->call('postgres', $path);
    my $failures = () = $path =~ /503|429/g;
    fields_are(
        $node->finished('postgres', $id),
        { status => 'succeeded', attempts => $failures + 1, http_status => 200, reason => undef, error => undef, hint => undef, next_attempt_at => undef },
        "$path: the last attempt succeeds");
    my @attempts = $node->attempts('postgres', $id);
    is_deeply([ map { $_->{attempt} } @attempts ], [ 1 .. $failures + 1 ], '... and each attempt has its row');
    is_deeply([ map { $_->{reason} } @attempts ], [ ('http') x $failures, undef ], '... and its reason');
    my @requests = $receiver->requests($path);
    is_deeply([ arrivals($path) ], [ 1 .. $failures + 1 ], '... and its number in the request');
    my %keys = map { $_->{headers}{'idempotency-key'} => 1 } @requests;
    is_deeply([ keys %keys ], [ $node->invocation('postgres', $id)->{idempotency_key} ], '... and all have the same Idempotency-Key');
    is($node->safe_psql('postgres', "SELECT duration >= interval '70 ms' * $failures AND duration = finished_at - first_sent_at FROM wee5_cron.invocation WHERE id = $id"),
        't', "... and the call's duration runs from the first attempt to the end") unless $node->is_portable;
}

# After the last attempt: failed, with that attempt's reason.
$node->policy('postgres', '/statuses/503,503,429', max_attempts => 3, retry_delays => '{50ms,100ms}');
$id = $node->call('postgres', '/statuses/503,503,429');
fields_are($node->finished('postgres', $id),
    { status => 'failed', reason => 'http', attempts => 3, http_status => 429, error => qr/429/, hint => qr/\w/, next_attempt_at => undef },
    'a call fails with the reason of its last attempt');
is(scalar(my @three = $receiver->requests('/statuses/503,503,429')), 3, '... and is not retried after it');

# The app is down, and comes back.
$node->policy('postgres', '/late', retry_delays => '{200ms}', max_attempts => 100);
$receiver->close_port;
$id = $node->call('postgres', '/late');
fields_are($node->invocation_when('postgres', $id, 'attempts >= 2'), { status => qr/retrying|sending/, reason => 'connect' }, 'a call is retried while the app is down');
$receiver->open_port;
fields_are($node->finished('postgres', $id), { status => 'succeeded', reason => undef }, '... and succeeds once the app is up');

# A call that the app may have processed is not repeated, unless the policy says so. pg_net follows redirects.
my @processed = ('/statuses/500,200', '/statuses/408,200', '/statuses/401,200', $node->is_portable ? () : ('/drop', '/statuses/302,200'));
for my $path (@processed) {
    $node->policy('postgres', $path, retry_delays => '{0}');
    fields_are($node->finished('postgres', $node->call('postgres', $path)), { status => 'failed', attempts => 1 }, "unprocessed: a call of $path is not retried");
}
for my $path (@processed) {
    my $again = $path =~ m{/x|500|408|drop};
    $node->policy('postgres', "/x$path", retry_delays => '{0}', retry_on => 'transient', max_attempts => 2);
    fields_are($node->finished('postgres', $node->call('postgres', "/x$path")), { attempts => $again ? 2 : 1 }, 'transient: ' . ($again ? "a call of $path is retried" : "a call of $path is not retried"));
}
$node->policy('postgres', '/slow', retry_delays => '{0}', retry_on => 'transient', max_attempts => 2, timeout => '100 ms');
fields_are($node->finished('postgres', $node->call('postgres', '/slow?ms=20000')), { status => 'failed', reason => 'timeout', attempts => 2 },
    'transient: a timeout is retried');
$node->policy('postgres', '/statuses/503,201', retry_delays => '{0}', retry_on => 'never');
fields_are($node->finished('postgres', $node->call('postgres', '/statuses/503,201')), { status => 'failed', attempts => 1, http_status => 503 }, 'never: a 503 is not retried');

# A changed policy applies to the attempts after the change.
$node->policy('postgres', '/statuses/503,202', retry_delays => '{100ms}', retry_on => undef);
is($node->finished('postgres', $node->call('postgres', '/statuses/503,202'))->{attempts}, 2, 'a new policy applies at once');
$node->no_retries('postgres', '/statuses/503,503,503,203');
is($node->finished('postgres', $node->call('postgres', '/statuses/503,503,503,203'))->{attempts}, 1, 'a policy without retries applies at once');
$node->policy('postgres', '/statuses/503,503,503,203', max_attempts => undef, retry_delays => '{0}');
is($node->finished('postgres', $node->call('postgres', '/statuses/503,503,503,203'))->{attempts}, 3, 'a changed policy applies at once');

Wee5Cron::Editions->needs_the_worker($node);

# Retry-After: no earlier attempt, in seconds and as a date.
my %told;
for my $say ('retry_after=2', 'date=2', 'date=2&as=rfc850', 'date=2&as=asctime') {
    my $path = '/r' . ($say =~ s/\W/-/gr) . "/statuses/503,200";
    $node->policy('postgres', $path, retry_delays => '{10min}');
    $told{$say} = $node->call('postgres', "$path?$say");
}
for my $say (sort keys %told) {
    fields_are($node->finished('postgres', $told{$say}), { status => 'succeeded', attempts => 2 }, "Retry-After with $say is respected");
    # Counted from the beginning: on a busy machine the answer may be read long after it was written.
    my $waited = $node->safe_psql('postgres',
        "SELECT b.started_at - a.started_at >= '1 s' FROM wee5_cron.attempt a JOIN wee5_cron.attempt b USING (invocation_id) WHERE invocation_id = $told{$say} AND a.attempt = 1 AND b.attempt = 2");
    is($waited, 't', '... and the retry is not sent early');
}
$node->policy('postgres', '/capped/statuses/503', retry_window => '1 s');
$id = $node->call('postgres', '/capped/statuses/503?retry_after=86400');
fields_are($node->finished('postgres', $id), { status => 'failed', attempts => 2 }, 'a Retry-After beyond the retry window is cut to its end');
is($node->safe_psql('postgres', "SELECT max(started_at) - min(started_at) >= '1 s' FROM wee5_cron.attempt WHERE invocation_id = $id"), 't',
    '... and the last attempt is made there');
$node->policy('postgres', '/window/statuses/503', retry_window => '1 s', retry_delays => '{10s}');
fields_are($node->finished('postgres', $node->call('postgres', '/window/statuses/503')), { status => 'failed', attempts => 1 },
    'no attempt begins after the retry window');

# An attempt is not made if it comes due under another policy, or long after its window: the call ends with the outcome of
# its last attempt. The same holds if a user's trigger makes the worker write by a statement.
my %ends = (
    'the policy says never' => sub { $node->policy('postgres', $_[0], retry_on => 'never') },
    'the policy has fewer attempts' => sub { $node->policy('postgres', $_[0], max_attempts => 1) },
    'the window is long over' => sub { $node->safe_psql('postgres', "UPDATE wee5_cron.invocation SET first_sent_at = first_sent_at - interval '67 min' WHERE id = $_[1]") },
);
for my $with ('', '/with-a-trigger') {
    $node->safe_psql('postgres', 'CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$; CREATE TRIGGER pass BEFORE UPDATE ON wee5_cron.invocation FOR EACH ROW EXECUTE FUNCTION pass()') if $with;
    for my $why (sort keys %ends) {
        my $path = "$with/" . ($why =~ s/\W/-/gr) . '/statuses/503';
        $node->policy('postgres', $path, retry_delays => '{30min}');
        $id = $node->call('postgres', $path);
        my $before = $node->invocation_when('postgres', $id, "status = 'retrying'");
        $ends{$why}->($path, $id);
        $node->safe_psql('postgres', "UPDATE wee5_cron.invocation SET next_attempt_at = now() WHERE id = $id; SELECT wee5_cron.wake_worker()");
        fields_are($node->finished('postgres', $id),
            { status => 'failed', next_attempt_at => undef, duration => qr/./, map { $_ => $before->{$_} } qw(attempts reason error hint http_status response_body response_content_type url) },
            "no further attempt is made when $why");
        is(scalar(my @once = $receiver->requests($path)), 1, '... and the app got only the first request');
    }
}
$node->safe_psql('postgres', 'DROP FUNCTION pass CASCADE');

# Each attempt looks up the app's address and the secret again.
my $other = Wee5Cron::Receiver->start(secret => 'the new secret');
$node->policy('postgres', '/moved/statuses/503', retry_delays => '{10min}', max_attempts => 2);
$id = $node->call('postgres', '/moved/statuses/503');
$node->invocation_when('postgres', $id, "status = 'retrying'");
$node->configure('postgres', api_url => $other->url, secret => 'the new secret');
$node->safe_psql('postgres', "UPDATE wee5_cron.invocation SET next_attempt_at = now() WHERE id = $id; SELECT wee5_cron.wake_worker()");
my ($second) = $other->wait_for_requests('/moved/statuses/503');
fields_are($second, { bearer => 'match' }, 'a retry uses a changed address and secret');
fields_are($second->{headers}, { 'x-wee5-cron-attempt' => 2 }, '... as the second attempt');
fields_are($node->finished('postgres', $id), { status => 'failed', attempts => 2 }, '... and as the last attempt that the policy allows');
$node->configure('postgres', api_url => $receiver->url, secret => $secret);

# Many calls of a path that is down do not delay others; all are delivered when it is up.
$receiver->close_port;
$node->policy('postgres', '/crowd', retry_delays => '{1s}', max_attempts => 1000);
$node->safe_psql('postgres', "SELECT count(invoke_cron_endpoint('/crowd?n=' || n)) FROM generate_series(1, 2000) n");
$node->poll_query_until('postgres', "SELECT count(*) = 2000 FROM wee5_cron.invocation WHERE endpoint_path LIKE '/crowd%' AND attempts > 0") or die 'not all were tried';
$receiver->open_port;
$node->wait_until_all_finished('postgres');
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path LIKE '/crowd%' AND status = 'succeeded'"), 2000,
    'two thousand calls of an app that was down succeed when it is up');

is($node->worker_pid('postgres'), $worker, 'one worker made all attempts');
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation i WHERE to_json(i)::text LIKE '%$secret%'"), 0, 'no row contains the secret');
$node->log_is_sane;
done_testing();
