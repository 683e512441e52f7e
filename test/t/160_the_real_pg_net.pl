# The whole path through the real pg_net, if the server has it: the same calls end with the same rows.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Fastify;
use Wee5Cron::Test;

plan skip_all => 'pg_net not available' unless pg_net_available();

my $secret   = 'canary-of-the-real-pg-net';
my $receiver = Wee5Cron::Receiver->start(secret => $secret);
my $down     = Wee5Cron::Receiver->start(secret => $secret);
$down->close_port;

my $node = Wee5Cron::Node->start_new('main', preload => 'pg_cron,pg_net,wee5_cron', conf => "pg_net.database_name = 'postgres'");
$node->safe_psql('postgres', 'CREATE EXTENSION pg_net');
$node->install('postgres', api_url => $receiver->url, secret => $secret);
# A role whose app is down.
$node->safe_psql('postgres', "CREATE ROLE down LOGIN; ALTER ROLE down SET app.settings.api_url = '@{[ $down->url ]}'; SELECT wee5_cron.grant_to('down', 'call')");

$node->no_retries('postgres', '/x');

# All at once: pg_net works in batches with a second between them.
my %call;
$call{ok}       = $node->call('postgres', '/status/200?q=1');
$call{unauth}   = $node->call('postgres', '/status/401');
$call{broken}   = $node->call('postgres', '/status/500');
$call{html}     = $node->call('postgres', '/html?status=404');
$call{big}      = $node->call('postgres', '/big?bytes=100000');
$call{leak}     = $node->call('postgres', '/leak?status=500');
$call{redirect} = $node->call('postgres', '/redirect?status=307&to=/status/202');
$call{drop}     = $node->call('postgres', '/drop');
$call{slow}     = $node->call('postgres', '/slow?ms=20000', "timeout => '500 ms'");
$call{post}     = $node->call('postgres', '/echo', q{'POST', '{"a": 1}', '{"X-Team": "blue"}'});
$call{delete}   = $node->call('postgres', '/deleted', q{'DELETE'});
$call{put}      = $node->call('postgres', '/put', q{'PUT'});
$call{down}     = $node->psql_as('down', 'postgres', "SELECT invoke_cron_endpoint('/x')");
$node->safe_psql('postgres', "BEGIN; SELECT invoke_cron_endpoint('/rolled-back'); ROLLBACK");
$node->wait_until_all_finished('postgres');

my %said = (
    ok       => { status => 'succeeded', http_status => 200, url => $receiver->url . '/status/200?q=1', reason => undef, error => undef, response_body => qr/200/ },
    unauth   => { status => 'failed', reason => 'http', http_status => 401, hint => qr/cron_secret/ },
    broken   => { status => 'failed', reason => 'http', http_status => 500, error => qr/500/ },
    html     => { status => 'failed', reason => 'http', http_status => 404, response_content_type => qr/html/ },
    big      => { status => 'succeeded', http_status => 200, response_truncated => 1, response_body => qr/^x{8192}$/ },
    leak     => { status => 'failed', reason => 'http', http_status => 500 },
    redirect => { status => 'succeeded', http_status => 202 },
    drop     => { status => 'failed', reason => 'response', http_status => undef },
    slow     => { status => 'failed', reason => 'timeout', http_status => undef, hint => qr/timeout/ },
    post     => { status => 'succeeded', http_status => 200, method => 'POST' },
    delete   => { status => 'succeeded', http_status => 200, method => 'DELETE' },
    down     => { status => 'failed', reason => 'connect', http_status => undef, requested_by => 'down', hint => qr/\w/ },
);
for my $name (sort keys %said) {
    my $row = $node->invocation('postgres', $call{$name});
    fields_are($row, { transport => 'pg_net', attempts => 1, finished_at => qr/./, duration => undef, %{ $said{$name} } }, "through pg_net: $name");
    fields_are(
        $node->one_row('postgres', "SELECT * FROM wee5_cron.attempt WHERE invocation_id = $call{$name}"),
        { attempt => 1, map { $_ => $row->{$_} } qw(reason http_status error) },
        '... and its attempt says the same');
}
fields_are($node->invocation('postgres', $call{put}), { transport => 'builtin', status => 'succeeded' }, 'a PUT, which pg_net cannot send, uses the builtin transport');

my ($ok)   = $receiver->requests('/status/200');
my ($post) = $receiver->requests('/echo');
fields_are($ok, { method => 'GET', bearer => 'match' }, 'pg_net sends a call with the bearer');
fields_are(
    $ok->{headers},
    { 'x-wee5-cron-invocation' => $call{ok}, 'x-wee5-cron-attempt' => 1, 'idempotency-key' => qr/^[0-9a-f-]{36}$/, 'user-agent' => qr/wee5_cron/ },
    '... and its headers');
fields_are($post, { method => 'POST', bearer => 'match', body => qr/"a": ?1/ }, 'pg_net sends a POST with its body');
is($post->{headers}{'x-team'}, 'blue', '... and its own header');
is(scalar(my @none = $receiver->requests('/rolled-back')), 0, 'a call that was rolled back is not sent');
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation i WHERE to_json(i)::text LIKE '%$secret%'"), 0, 'the ledger does not contain the secret');
is($node->safe_psql('postgres', 'SELECT count(*) FROM wee5_cron.pg_net_request'), 0, 'pg_net_request is empty once every call has ended');

# An app that refuses a Content-Type without a body.
SKIP: {
    skip Wee5Cron::Fastify::missing(), 1 if Wee5Cron::Fastify::missing();
    my $fastify = Wee5Cron::Fastify->start(secret => $secret);
    $node->configure('postgres', api_url => $fastify->url);
    my @choices = (q{'GET'}, q{'POST'}, q{'POST', '{"a": 1}'}, q{'DELETE'}, q{'DELETE', '{"a": 1}'});
    my @ids = map { $node->call('postgres', '/route', $_) } @choices;
    for my $choices (@choices) {
        fields_are($node->finished('postgres', shift @ids), { transport => 'pg_net', status => 'succeeded', http_status => 200 }, "Fastify accepts a call with $choices");
    }
    $node->configure('postgres', api_url => $receiver->url);
}

# wait_for, while the worker harvests.
my $id = $node->call('postgres', '/status/204');
is($node->safe_psql('postgres', "SELECT status, http_status FROM wee5_cron.wait_for($id)"), 'succeeded|204', 'wait_for() waits for a call through pg_net');

# A crash empties pg_net's tables. Its calls are lost, and their rows say so. A later call is not confused with one of them.
# pg_net takes the next batch when the last request of this one has ended.
$node->no_retries('postgres', '/hang', map { "/behind/$_" } 1 .. 3);
$node->policy('postgres', '/again', retry_delays => '{0}');
my @lost = $node->call('postgres', '/hang');
$receiver->wait_for_requests('/hang');
push @lost, map { $node->call('postgres', "/behind/$_") } 1 .. 3;
my $again = $node->call('postgres', '/again');
$node->stop('immediate');
$receiver->release_for_good;
$node->start;
fields_are($node->finished('postgres', $_), { status => 'failed', reason => 'lost', http_status => undef, hint => qr/\w/ }, 'a call that pg_net lost in a crash') for @lost;
fields_are($node->finished('postgres', $again), { status => 'succeeded', attempts => 2, transport => 'pg_net', reason => undef },
    'a call that pg_net lost is retried if its policy allows');
is_deeply([ map { "$_->{attempt} " . ($_->{reason} // 'ok') } $node->attempts('postgres', $again) ], [ '1 lost', '2 ok' ], '... and each attempt has its row');
my ($second) = $receiver->requests('/again');
fields_are($second->{headers},
    { 'x-wee5-cron-attempt' => 2, 'x-wee5-cron-invocation' => $again, 'idempotency-key' => $node->invocation('postgres', $again)->{idempotency_key} },
    '... with its attempt number and the same Idempotency-Key');
fields_are($second, { bearer => 'match' }, '... and the bearer');
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type ILIKE '%pg_net%'");
fields_are($node->finished('postgres', $node->call('postgres', '/status/200')), { status => 'succeeded', transport => 'pg_net' }, 'calls through pg_net succeed after the crash');
$node->log_is_sane;
$node->stop;

# Without our library in shared_preload_libraries, pg_net works as the transport, and the builtin one says what to do.
my $bare = Wee5Cron::Node->start_new('bare', preload => 'pg_cron,pg_net', conf => "pg_net.database_name = 'postgres'");
$bare->safe_psql('postgres', 'CREATE EXTENSION pg_net');
$bare->install('postgres', api_url => $receiver->url, secret => $secret, pg_cron => 0);
is($bare->worker_pid('postgres'), '', 'a server that does not preload the library has no worker');
my @ids = map { $bare->call('postgres', $_) } qw(/status/200 /status/500);
$receiver->wait_for_requests('/status/500', 2);
is($bare->safe_psql('postgres', "SELECT status FROM wee5_cron.invocation WHERE id = $ids[0]"), 'queued', '... and answers are not harvested by themselves');
$bare->poll_query_until('postgres', 'SELECT count(*) = 2 FROM net._http_response');
is($bare->safe_psql('postgres', 'SELECT wee5_cron.harvest()'), 2, 'harvest() records the answers that have come');
fields_are($bare->invocation('postgres', $ids[0]), { status => 'succeeded', http_status => 200, transport => 'pg_net' }, '... a success');
fields_are($bare->invocation('postgres', $ids[1]), { status => 'failed', http_status => 500, reason => 'http' }, '... a failure');
is($bare->safe_psql('postgres', 'SELECT wee5_cron.harvest()'), 0, 'harvest() records each answer only once');
$id = $bare->call('postgres', '/status/201');
is($bare->safe_psql('postgres', "SELECT status, http_status FROM wee5_cron.wait_for($id)"), 'succeeded|201', 'wait_for() records the answer of its own call');
$id = $bare->call('postgres', '/status/200?once-more');
my $other = $bare->call('postgres', '/status/202');
is($bare->safe_psql('postgres', "SELECT status FROM wee5_cron.wait_for($id)"), 'succeeded', 'wait_for() records the answer of its own call again');
is($bare->invocation('postgres', $other)->{finished_at}, undef, '... and of no other call');
$bare->raises('postgres', "SELECT wee5_cron.invoke('/x', 'PUT')", '55000', 'a PUT is an error without the preloaded library', hint => qr/shared_preload_libraries/);
$bare->raises('postgres', "SET wee5_cron.transport = 'builtin'; SELECT invoke_cron_endpoint('/x')", '55000', 'transport = builtin is an error without the preloaded library', hint => qr/shared_preload_libraries/);

done_testing();
