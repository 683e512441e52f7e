# A second server listens, and whatever a caller, an app or the environment does, it never gets the bearer: paths, headers,
# redirects, cookies, proxies, .netrc; on both transports; neither that of the app nor that of a target.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

use HTTP::Tiny;
use JSON::PP;

my $secret = 'canary-that-stays-at-home';
my $app    = Wee5Cron::Receiver->start(secret => $secret);
my $target = Wee5Cron::Receiver->start(secret => "$secret-of-a-target");
my $evil   = Wee5Cron::Receiver->start(secret => $secret);
my $there  = '127.0.0.1:' . $evil->port;

# What libraries and programs obey by default, set for the whole server.
my $home = PostgreSQL::Test::Utils::tempdir();
append_to_file("$home/.netrc",  "machine 127.0.0.1 login mallory password of-the-netrc\ndefault login mallory password of-the-netrc\n");
append_to_file("$home/.curlrc", "proxy = $there\n");
chmod 0600, "$home/.netrc";
my %bait = (HOME => $home, CURL_HOME => $home, NETRC => "$home/.netrc", map { $_ => "http://$there" } qw(http_proxy https_proxy all_proxy HTTPS_PROXY ALL_PROXY));
{
    local @ENV{ keys %bait } = values %bait;
    my $answer = HTTP::Tiny->new->get($app->url . '/bait');
    is($answer->{status}, 200, 'another program can make a request under this environment');
}
is(scalar(my @taken = $evil->requests), 1, '... and it obeys the proxy there, so the bait works');
is(scalar(@taken = $app->requests), 0, '... and the app does not get that request');

my $node = Wee5Cron::Node->new_configured('main', preload => pg_net_available() ? 'pg_cron,pg_net,wee5_cron' : 'pg_cron,wee5_cron',
    conf => pg_net_available() ? "pg_net.database_name = 'postgres'" : '');
sub start_with_bait {
    local @ENV{ keys %bait } = values %bait;
    $node->start;
    return;
}
start_with_bait();
$node->install('postgres', api_url => $app->url, secret => $secret);
$node->safe_psql('postgres', "CREATE ROLE caller LOGIN; SELECT wee5_cron.grant_to('caller', 'call')");
$node->safe_psql('postgres', "CREATE ROLE operator LOGIN; SELECT wee5_cron.grant_to('operator', 'operate'); SELECT wee5_cron.configure_target('billing', '@{[ $target->url ]}', '$secret-of-a-target')");
# The environment of a program that the server starts: the server's own is overwritten by the titles of its processes.
is($node->safe_psql('postgres', q{CREATE TEMP TABLE environment (line text); COPY environment FROM PROGRAM 'echo $http_proxy $HOME'; TABLE environment}),
    "http://$there $home", 'the server has proxy and home in its environment');

# What a caller may try: the other server's port, wherever a URL may contain one.
my @refused_paths = (
    "\@$there/x", ":\@$there/x", ":$evil->{port}/x", ".$there/x", "//$there/x", "///$there/x", "/\\$there/x", "\\\\$there/x", "http://$there/x",
    "/http://$there/x", "/..//$there/x", "/%2e%2e/x", "/.%2E/x", "/a/./b", "/a#\@$there/", "?\@$there/x", "#\@$there/x", " /x",
    "/x\r\nHost: $there", "/x HTTP/1.1\r\nHost: $there\r\n\r\n", "/\t/$there/x", "/x\x7f", "file:///etc/passwd", "gopher://$there/x", "",
);
my @taken_paths = ("/\@$there/x", "/;\@$there/x", "/x?to=http:%2F%2F$there/", "/%0d%0aHost:%20$there", "/:$evil->{port}/x", "/%5c%5c$there/x", "/x%00y");
my @refused_headers = (
    { Host => $there }, { host => $there }, { 'Host ' => $there }, { ' Host' => $there }, { "X-A: b\r\nHost" => $there }, { 'X-A' => "b\r\nHost: $there" },
    { 'X-A' => "b\nHost: $there" }, { 'X-A' => "b\rHost: $there" }, { Authorization => 'Bearer other' }, { 'Content-Length' => '0' },
    { 'Transfer-Encoding' => 'chunked' }, { Connection => 'Authorization' }, { 'Idempotency-Key' => 'mine' }, { 'X-Wee5-Cron-Invocation' => '1' }, { '' => 'x' },
);

# Who may call a path of a target without a policy is an operator.
sub attack_as_caller {
    my ($transport, $to) = @_;
    my ($prefix, $role) = $to == $app ? ('', 'caller') : ('billing:', 'operator');
    my $before = () = $to->requests;
    for my $path (map { "$prefix$_" } @refused_paths) {
        my $shown = $path =~ s/\r/\\r/gr =~ s/\n/\\n/gr =~ s/\t/\\t/gr =~ s/\x7f/DEL/r;
        my $literal = $path =~ s/\\/\\\\/gr;
        $node->raises('postgres', "SELECT invoke_cron_endpoint(E'$literal')", '22023', "$transport: the path $shown is refused", role => $role);
    }
    for my $header (@refused_headers) {
        my $json = JSON::PP->new->canonical->encode($header);
        $node->raises('postgres', "SELECT wee5_cron.invoke('$prefix/headers', headers => '$json')", '22023', "$transport: $prefix the headers $json are refused", role => $role);
    }
    my @ids = map { $node->psql_as($role, 'postgres', "SELECT invoke_cron_endpoint('$prefix$_')") } @taken_paths;
    for my $i (0 .. $#ids) {
        fields_are($node->finished('postgres', $ids[$i]), { status => 'succeeded', transport => $transport }, "$transport: the path $prefix$taken_paths[$i] leads to the app");
    }
    my @new = ($to->requests)[ $before .. $before + $#ids ];
    is(scalar(grep { $_->{bearer} eq 'match' && $_->{headers}{host} eq '127.0.0.1:' . $to->port } @new), scalar @ids, '... and each request reaches the app, with the app as its Host');
    is(scalar(() = $to->requests), $before + @ids, '... and no others do');
    return;
}

# The requests of the other server since the last look.
my $heard = () = $evil->requests;
sub nobody_else_heard {
    my ($name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @requests = $evil->requests;
    return is(scalar @requests, $heard, $name) || diag(join "\n", map { "$_->{method} $_->{url} $_->{bearer}" } @requests[ $heard .. $#requests ]);
}

$node->safe_psql('postgres', "ALTER DATABASE postgres SET wee5_cron.transport = 'builtin'");
attack_as_caller('builtin', $_) for $app, $target;
nobody_else_heard('builtin: neither a caller nor the environment sends a request to the other server');
is(scalar(grep { ($_->{headers}{'proxy-authorization'} // '') ne '' } $app->requests), 0, '... and no login from .netrc reaches the app');

# What an app may try.
for my $to ([ '', $app ], [ 'billing:', $target ]) {
    my ($prefix, $called) = @$to;
    for my $status (301, 302, 303, 307, 308) {
        fields_are($node->finished('postgres', $node->call('postgres', "$prefix/redirect?status=$status&to=http:%2F%2F$there/stolen")),
            { status => 'failed', reason => 'redirect', http_status => $status }, "builtin: a redirect of $prefix/ with $status is a failure");
    }
    $node->finished('postgres', $node->call('postgres', "$prefix/cookie?to=$there"));
    $node->finished('postgres', $node->call('postgres', "$prefix/after-the-cookie"));
    ok(!exists +(($called->requests('/after-the-cookie'))[0]{headers}{cookie}), "builtin: a cookie of $prefix/ is not sent back");
}
nobody_else_heard('builtin: Location, Alt-Svc and Refresh send no request to the other server');

# A session's own setting has no effect: no caller may SET one, and a superuser's does not reach the worker.
for my $setting ("app.settings.api_url = 'http://$there'", "app.settings.cron_targets = '{}'", "wee5_cron.ca_file = '/tmp/x'", "wee5_cron.vault_api_url = 'x'", 'wee5_cron.allow_plain_http = on') {
    $node->raises('postgres', "SET $setting", '42501', "a caller may not SET $setting", role => 'caller');
    $node->raises('postgres', "ALTER ROLE caller SET $setting", '42501', "a caller may not store $setting", role => 'caller');
    my ($name, $value) = $setting =~ /^(\S+) = '?(.*?)'?$/;
    local $ENV{PGOPTIONS} = "-c $name=$value";
    my ($status) = $node->psql('postgres', 'SELECT 1', extra_params => [ '-U', 'caller' ]);
    isnt($status, 0, "a caller may not pass $setting with the connection");
}

SKIP: {
    skip 'pg_net not available', 1 unless pg_net_available();
    # pg_net obeys the server's environment, which it does not document, so this server has none of it.
    $node->stop;
    $node->start;
    $node->safe_psql('postgres', "CREATE EXTENSION pg_net; ALTER DATABASE postgres SET wee5_cron.transport = 'pg_net'");
    $node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type ILIKE '%pg_net%'");
    attack_as_caller('pg_net', $_) for $app, $target;
    nobody_else_heard('pg_net: no caller sends a request to the other server');
    # It follows redirects by itself: the other server gets a request, but not the bearer.
    $node->finished('postgres', $node->call('postgres', "/redirect?status=307&to=http:%2F%2F$there/redirected"));
    is(join(' ', map { $_->{bearer} } $evil->requests('/redirected')), 'none', 'pg_net: a redirect is followed without the bearer');
}

$node->log_is_sane;
done_testing();
