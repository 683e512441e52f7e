# Alerts: after failures in a row, when a job is late, and when that is over; once each, by NOTIFY and by a webhook. The
# webhook never gets the bearer, and the ledger does not show its address.
use FindBin;
use lib "$FindBin::RealBin/../support";
use JSON::PP;
use Wee5Cron::Editions;
use Wee5Cron::Test;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $canary   = 'T0000-canary-B1111';
my $webhook  = $receiver->url . "/services/$canary?sig=also-$canary";
my $node     = Wee5Cron::Editions->start_node('main');
my $transport = $node->is_portable ? 'pg_net' : 'builtin';
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');

my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN wee5_cron');

# The notifications since the last look. Waits until all pending ones were sent.
sub told {
    $node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM wee5_cron.pending_alert') or die 'alerts are not told';
    my $said = $listener->query(q{SELECT 'heard'});
    my @heard = map { decode_json($_) } $said =~ /^Asynchronous notification "wee5_cron" with payload "(.*)" received from/mg;
    return @heard;
}

sub call_and_wait {
    my (@paths) = @_;
    my $id;
    for my $path (@paths) {
        $id = $node->call('postgres', $path);
        $node->finished('postgres', $id);
    }
    return $id;
}

# Two failures and a success cause no alert.
call_and_wait('/a/html?status=500', '/a/html?status=500', '/a/html');
is(scalar told(), 0, 'two failures and a success send no notification');
is($node->safe_psql('postgres', 'SELECT count(*) FROM wee5_cron.trouble'), 0, '... and leave no row in trouble');

# Three failures.
my $third = call_and_wait(('/a/html?status=500') x 2, '/a/html?status=404');
my @heard = told();
is(scalar @heard, 1, 'three failures in a row send one notification');
is_deeply({ %{ $heard[0] }, at => undef, text => undef, error => undef },
    { event => 'failing', job_name => undef, endpoint_path => '/a/html?status=404', invocation_id => $third, status => 'failed', reason => 'http',
      http_status => 404, failures => 3, database => 'postgres', at => undef, text => undef, error => undef }, '... that names the path, the status and the database');
like($heard[0]{text}, qr{^/a/html\?status=404 in database "postgres" failed 3 times in a row: The app answered 404}, '... and says it in words');
like($heard[0]{error}, qr/404/, '... and contains the last error');
call_and_wait(('/a/html?status=500') x 4);
is(scalar told(), 0, '... and further failures send none');
$node->restart;
$listener->quit;
$listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN wee5_cron');
call_and_wait('/a/html?status=500');
is(scalar told(), 0, '... not even after a restart');
my $well = call_and_wait('/a/html?status=201');
@heard = told();
is(scalar @heard, 1, 'the first success sends one notification');
fields_are($heard[0], { event => 'recovered', invocation_id => $well, status => 'succeeded', reason => undef, http_status => 201, failures => 8,
        text => qr/works again, after 8 calls failed since/ }, '... that says so');
call_and_wait('/a/html');
is(scalar told(), 0, '... and further successes send none');

# Failures recorded in one batch.
my $batch = 'SELECT count(invoke_cron_endpoint(format($$/b/html?status=%s$$, s))) FROM unnest(array[500, 500, 500, 500]) s';
$node->safe_psql('postgres', $batch);
$node->wait_until_all_finished('postgres');
is_deeply([ map { "$_->{event} $_->{failures}" } told() ], ['failing 3'], 'failures that are recorded together are counted one by one');

# Another session counts failures of the same path and does not commit. It does not delay the results.
my $counting = $node->background_psql('postgres');
$counting->query_safe("BEGIN; UPDATE wee5_cron.trouble SET failures = failures WHERE name = '/b/html'");
is($node->finished('postgres', $node->call('postgres', '/b/html?status=500'))->{status}, 'failed', 'a result is recorded while another session counts the failures');
$counting->quit;

# Each path on its own, by its policy.
$node->safe_psql('postgres', <<'SQL');
INSERT INTO wee5_cron.endpoint (endpoint_path, alert_after) VALUES ('/c/html', 1), ('/c/html?status=501', 2);
SQL
call_and_wait('/c/html?status=501');
is(scalar told(), 0, "an endpoint row's alert_after applies to its path");
call_and_wait('/c/html?status=500');
@heard = told();
is_deeply([ map { "$_->{endpoint_path} $_->{failures}" } @heard ], ['/c/html?status=500 1'], '... and without its query the path has its own');
like($heard[0]{text}, qr/ failed: The app/, '... and the text fits a single failure');

# Again while it lasts, if the administrator wants that.
sub told_of_r { return grep { ($_->{endpoint_path} // '') =~ m{^/r/html} } told() }
call_and_wait(('/r/html?status=500') x 3);
is_deeply([ map { "$_->{event} $_->{failures}" } told_of_r() ], ['failing 3'], 'by default, somebody is told once');
my $told_at = "SELECT told_at FROM wee5_cron.trouble WHERE name = '/r/html'";
my $first_told = $node->safe_psql('postgres', $told_at);
$node->set_server('wee5_cron.alert_repeat', '500ms');
$node->poll_query_until('postgres', "SELECT ($told_at) > '$first_told'::timestamptz + interval '1 second'") or die 'nobody is told again';
my @again = told_of_r();
# Without a worker, each harvest() tells it.
cmp_ok(scalar @again, '>=', $node->is_portable ? 1 : 2, 'with wee5_cron.alert_repeat, somebody is told again and again while it lasts');
is_deeply({ %{ $again[0] }, at => undef, text => undef, error => undef, invocation_id => undef },
    { event => 'failing', job_name => undef, endpoint_path => '/r/html?status=500', invocation_id => undef, status => 'failed', reason => 'http',
      http_status => 500, failures => 3, database => 'postgres', at => undef, text => undef, error => undef }, '... the same');
call_and_wait('/r/html?status=502');
my $now_told = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
$node->poll_query_until('postgres', "SELECT ($told_at) > '$now_told'::timestamptz") or die 'nobody is told again';
fields_are((told_of_r())[-1], { event => 'failing', failures => 4, http_status => 502 }, '... with what is true by now');
call_and_wait('/r/html');
is((told_of_r())[-1]{event}, 'recovered', '... until it works again');
$node->set_server('wee5_cron.alert_repeat', '0');
told();

# By a webhook. No other role can read its address.
my $set = $node->is_portable ? "SELECT wee5_cron.set('alert_url', '%s')" : "SET wee5_cron.alert_url = '%s'";
$node->raises('postgres', sprintf($set, $_), '22023', "alert_url '$_'", hint => $node->is_portable ? qr/: SELECT wee5_cron\.set\('alert_url', '[^']*'\);?$/ : qr/./) for 'ftp://x.example/y', 'hooks.example.com/x', 'https://u:p@x.example/', 'https://x.example/a b';
$node->safe_psql('postgres', 'CREATE ROLE reader LOGIN');
$node->safe_psql('postgres', "SELECT wee5_cron.grant_to('reader', 'read')");
$node->set_server('wee5_cron.alert_url', $webhook);
$node->raises('postgres', $node->is_portable ? "SELECT wee5_cron.setting('alert_url')" : 'SHOW wee5_cron.alert_url', '42501', 'an ordinary role may not read wee5_cron.alert_url', role => 'reader');
call_and_wait('/c/html?status=501');
# Without a worker, a harvest() notices the failure, and pg_net sends what that one queued.
$node->deliver_and_harvest, $node->deliver if $node->is_portable;
my ($post) = $receiver->wait_for_requests(qr{^/services/});
is($post->{url}, "/services/$canary?sig=also-$canary", 'an alert is posted to the whole address of the webhook');
fields_are($post, { method => 'POST', bearer => 'none' }, '... by POST and without the bearer');
is($post->{headers}{'content-type'}, 'application/json', '... as JSON');
ok(!grep { /^(?:x-wee5|x-vercel)/ } keys %{ $post->{headers} }, '... with nothing else of ours') or diag(join ' ', keys %{ $post->{headers} });
@heard = told();
is_deeply(decode_json($post->{body}), $heard[0], '... with the same document as the notification');
like($heard[0]{text}, qr/failed 2 times in a row/, '... whose text is for people');
my $row = $node->one_row('postgres', "SELECT * FROM wee5_cron.invocation WHERE endpoint_path = 'wee5_cron.alert'");
$row = $node->finished('postgres', $row->{id});
fields_are($row, { status => 'succeeded', http_status => 200, method => 'POST', transport => $transport, job_name => undef, url => $receiver->url },
    '... and it has its own row, which contains only the origin of the address');

# What other receivers accept. Discord's reference ("Execute Webhook"): one of content, embeds and so on; content has at most
# 2000 characters; allowed_mentions.parse names what may be mentioned. Slack's ("Incoming webhooks", "Formatting text"): text,
# in which &, < and > are escaped. Microsoft's ("Create incoming webhooks with Workflows", Adaptive Cards): type "message",
# attachments of that contentType with contentUrl null and, as content, a card with $schema, type, version and body, in whose
# TextBlock text is required; a message has at most 28 kB.
sub message_for {
    my ($format, $text) = @_;
    $text //= 'job "a" failed: <!channel> & @everyone';
    return decode_json($node->safe_psql('postgres', "SELECT wee5_cron.webhook_message(jsonb_build_object('event', 'failing', 'text', \$\$$text\$\$), '$format')"));
}
is_deeply(message_for('plain'), { event => 'failing', text => 'job "a" failed: <!channel> & @everyone' }, 'the plain event');
is_deeply(message_for('discord'), { event => 'failing', text => 'job "a" failed: <!channel> & @everyone', content => 'job "a" failed: <!channel> & @everyone', allowed_mentions => { parse => [] } }, 'Discord gets content, and mentions nobody');
is_deeply(message_for('slack'), { text => 'job "a" failed: &lt;!channel&gt; &amp; @everyone' }, 'Slack gets text, which calls no channel');
is_deeply(message_for('teams'), { type => 'message', attachments => [ { contentType => 'application/vnd.microsoft.card.adaptive', contentUrl => undef, content => {
    '$schema' => 'http://adaptivecards.io/schemas/adaptive-card.json', type => 'AdaptiveCard', version => '1.2',
    body => [ { type => 'TextBlock', text => 'job "a" failed: <!channel> & @everyone', wrap => JSON::PP::true } ] } } ] }, 'Teams gets an Adaptive Card');
is($node->safe_psql('postgres', "SELECT length(wee5_cron.make_alert('failing', NULL, '/x', 1, 'failed', 'http', 500, NULL, 1, repeat('x', 5000))->>'text')"), 1600, 'no text is longer than Discord accepts');

# A webhook that is down is retried, and causes no alert about itself. Its answer repeats the request.
$node->set_server('wee5_cron.alert_url', $receiver->url . "/hooks/$canary/leak?status=500");
my $late = call_and_wait(('/d/html?status=500') x 3);
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM wee5_cron.invocation WHERE endpoint_path = 'wee5_cron.alert' AND status = 'failed'");
fields_are($node->one_row('postgres', "SELECT * FROM wee5_cron.invocation WHERE endpoint_path = 'wee5_cron.alert' AND status = 'failed'"),
    { reason => 'http', http_status => 500, hint => qr/wee5_cron\.alert_url/ }, 'a webhook that fails is a failed call');
is(scalar told(), 1, '... and sends no notification about itself');
$node->set_server('wee5_cron.alert_url', $receiver->url . "/hooks/$canary/redirect?to=/x/$canary");
call_and_wait('/d/html');
# pg_net itself would follow it. The stand-in does not.
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM wee5_cron.invocation WHERE endpoint_path = 'wee5_cron.alert' AND reason = 'redirect'"), '... and so is a webhook that has moved');
is_deeply([ map { $_->{event} } told() ], ['recovered'], '... and the next alert is sent');
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.trouble WHERE name !~ '^/'"), 0, '... and a webhook never counts as trouble');

# A webhook that answers like an app which goes on with the work: nobody will complete an alert.
$receiver->answers("/hooks/$canary/later", status => 202, headers => ['Wee5-Cron: accepted'], body => '{}');
$node->set_server('wee5_cron.alert_url', $receiver->url . "/hooks/$canary/later");
call_and_wait(('/e/html?status=500') x 3);
told();
ok($node->poll_query_until('postgres', q{SELECT status = 'succeeded' AND finished_at IS NOT NULL FROM wee5_cron.invocation WHERE endpoint_path = 'wee5_cron.alert' AND http_status = 202}),
    'an alert that is answered 202 with Wee5-Cron: accepted has ended');

is($node->safe_psql('postgres', "SELECT count(*) FROM (SELECT i::text AS t FROM wee5_cron.invocation i UNION ALL SELECT a::text FROM wee5_cron.attempt a) r WHERE t LIKE '%$canary?%' OR t LIKE '%$canary/%'"), 0,
    'the ledger does not contain the address of the webhook');
$node->set_server('wee5_cron.alert_url', '');

# A call that pg_net loses counts as well.
$node->no_retries('postgres', '/by-pg-net');
$node->safe_psql('postgres', "INSERT INTO wee5_cron.invocation (endpoint_path, transport) SELECT '/by-pg-net', 'pg_net' FROM generate_series(1, 3)");
$node->safe_psql('postgres', 'SELECT wee5_cron.harvest()');
call_and_wait('/turn');
ok($node->poll_query_until('postgres', "SELECT told FROM wee5_cron.trouble WHERE name = '/by-pg-net'"), 'failures through pg_net are counted');
$node->restart;
$listener->quit;
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.pending_alert"), 0, '... and the worker sends their alert, at its start at the latest')
  if $node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM wee5_cron.pending_alert');

# A job that is late, and runs again. Its next run is far off.
$node->safe_psql('postgres', <<'SQL');
SELECT wee5_cron.schedule('late one', format('%s,%s * * * *', extract(minute FROM now() - interval '20 minutes'),
                                             extract(minute FROM now() - interval '10 minutes')), '/late');
UPDATE wee5_cron.job SET catch_up = 'none' WHERE job_name = 'late one';
SQL
$node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM wee5_cron.job_watch');
$listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN wee5_cron');
my $look_back = "UPDATE wee5_cron.job_watch SET judged_until = now() - interval '30 minutes' WHERE true";
my $look = 'SELECT wee5_cron.watch_jobs()';
$node->safe_psql('postgres', "$look_back; $look") for 1 .. 2;
is($node->safe_psql('postgres', 'SELECT count(*) FROM wee5_cron.pending_alert'), 1, 'one alert is pending for a late job');
$node->safe_psql('postgres', "SELECT wee5_cron.send_alerts(false)");
@heard = told();
fields_are($heard[0], { event => 'late', job_name => 'late one', endpoint_path => '/late', invocation_id => undef,
        text => qr{^job "late one" \(/late\) in database "postgres" is late: its run of 20\d\d-.* did not begin$} }, '... that says which run is missing');
$node->as_superuser('postgres', "INSERT INTO cron.job_run_details (runid, jobid, database, username, command, status, start_time) SELECT 4711, jobid, database, username, command, 'succeeded', now() FROM cron.job WHERE jobname = 'late one'");
$node->safe_psql('postgres', <<"SQL");
$look_back;
SELECT wee5_cron.watch_jobs();
SELECT wee5_cron.send_alerts(false);
SQL
fields_are((told())[0], { event => 'recovered', job_name => 'late one', text => qr/runs again, after it missed/ }, 'a notification says that a late job runs again');

# A run that failed before it made a call: the app was not called, but there is an alert. A run that failed before the job
# was watched causes none, and neither does a run whose call was counted. A run in progress counts when it has ended.
$node->safe_psql('postgres', "SELECT wee5_cron.schedule('raises', '0 0 1 1 *', '/raises?x=1')");
my $next_run = 5000;
sub run_of {
    my ($status, $message) = @_;
    $node->as_superuser('postgres', "INSERT INTO cron.job_run_details (runid, jobid, database, username, command, status, return_message, start_time) SELECT @{[ ++$next_run ]}, jobid, database, username, command, '$status', '$message', now() FROM cron.job WHERE jobname = 'raises'");
    return $next_run;
}
my $failures = sub { return $node->safe_psql('postgres', "SET lock_timeout = '100 ms'; $look; SELECT coalesce(sum(failures), 0) FROM wee5_cron.trouble WHERE name = '/raises'") =~ s/.*\n//sr };
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM wee5_cron.job_watch JOIN cron.job USING (jobid) WHERE jobname = 'raises' AND seen_run IS NOT NULL") or die;
run_of('failed', 'ERROR:  app.settings.cron_secret is not set');
is($failures->(), 1, 'a run that pg_cron recorded as failed is a failure');
my $running = run_of('running', '');
run_of('failed', 'ERROR:  while another one runs');
is($failures->(), 1, 'a failed run behind one that is still running is not counted yet');
$node->as_superuser('postgres', "UPDATE cron.job_run_details SET status = 'succeeded' WHERE runid = $running");
is($failures->(), 2, '... but once the other run has ended');
my $counted = run_of('failed', 'ERROR:  call 1 of /raises failed');
$node->safe_psql('postgres', "INSERT INTO wee5_cron.invocation (job_name, endpoint_path, transport, status, reason, finished_at, cron_run_id) VALUES ('raises', '/raises?x=1', '$transport', 'failed', 'http', now(), $counted)");
is($failures->(), 2, 'a run whose call failed is counted only with its call');
run_of('failed', 'ERROR:  you sent the secret');
is($failures->(), 3, 'three failed runs are counted');
$node->safe_psql('postgres', 'SELECT wee5_cron.send_alerts(false)');
fields_are((told())[-1], { event => 'failing', job_name => 'raises', endpoint_path => '/raises?x=1', invocation_id => undef, status => 'failed', failures => 3,
        text => qr{^job "raises" \(/raises\?x=1\) in database "postgres" failed 3 times in a row: ERROR:  you sent \[} }, '... and send a notification, without the secret');
my $holder = $node->background_psql('postgres');
$holder->query_safe("BEGIN; UPDATE wee5_cron.trouble SET failures = failures WHERE name = '/raises'");
run_of('failed', 'ERROR:  once more');
is($node->error_of('postgres', "SET lock_timeout = '100 ms'; $look"), undef, 'another session that counts the same path does not keep the worker from watching');
is($failures->(), 3, '... and the failure is not counted');
like($node->safe_psql('postgres', "SET lock_timeout = '100 ms'; SELECT wee5_cron.watch_jobs() BETWEEN clock_timestamp() AND clock_timestamp() + interval '11 seconds'"), qr/^t$/m, '... and the worker looks again soon, not at the next tick');
$holder->quit;
is($failures->(), 4, '... until the next look');
is(scalar told(), 0, '... and sends no second notification');
call_and_wait('/raises?x=1');
is_deeply([ map { "$_->{event} $_->{failures}" } told() ], ['recovered 4'], 'a success of the path sends a notification');

# Texts of any length.
$node->safe_psql('postgres', <<'SQL');
SELECT wee5_cron.add_alert(wee5_cron.make_alert('failing', repeat(chr(228), 255), '/' || repeat('"\', 1000), 1, 'failed', 'http', 500, repeat(chr(128512) || '"\', 2000), 3, repeat(chr(1), 4000)));
SELECT wee5_cron.send_alerts(false);
SQL
is(scalar told(), 1, 'a notification is sent however long its texts are');

$listener->quit;
$node->log_is_sane;
done_testing();
