# wee5_cron.proxy: calls to http and to https go through a tunnel, so the proxy learns only where they go. Also: the hosts
# in wee5_cron.allow_plain_http, and a webhook that is recognized by its host.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;
use Wee5Cron::Doctor;
use Wee5Cron::MovingNames;
use Wee5Cron::Process;

use HTTP::Tiny;
use JSON::PP;

my $secret    = 'canary-that-no-proxy-sees';
my $directory = PostgreSQL::Test::Utils::tempdir();
my ($cert, $key) = ("$directory/cert.pem", "$directory/key.pem");
my ($out, $err);
IPC::Run::run([ qw(openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 -keyout), $key, '-out', $cert ],
    '>', \$out, '2>', \$err) or die "openssl: $err";
my %app = (http => Wee5Cron::Receiver->start(secret => $secret), https => Wee5Cron::Receiver->start(secret => $secret, tls => { cert => $cert, key => $key }));

# A proxy that records its requests.
sub proxy {
    my ($name, @credentials) = @_;
    my $records = "$PostgreSQL::Test::Utils::log_path/147_$name.jsonl";
    PostgreSQL::Test::Utils::append_to_file($records, '');
    my $process = Wee5Cron::Process->start(command => [ 'node', "$FindBin::RealBin/../support/connect_proxy.js", $records, @credentials ],
        log => "$records.log", until => qr/^listening \d+$/m);
    my ($port) = $process->output =~ /(\d+)/;
    return { process => $process, port => $port, records => $records };
}
sub asked { my ($proxy) = @_; return map { JSON::PP->new->decode($_) } split /\n/, slurp_file($proxy->{records}) }

my $open   = proxy('open');
my $locked = proxy('locked', 'user:p@ss:word');
my $names  = Wee5Cron::MovingNames->new;
my $node   = Wee5Cron::Node->new_configured('main');
$names->lead('web.prod', '127.0.0.1', $app{http}->port);
# The proxy variables of the environment are ignored.
{
    local @ENV{qw(http_proxy https_proxy ALL_PROXY no_proxy)} = (('http://127.0.0.1:9') x 3, '*');
    $names->start($node);
}
$node->install('postgres', api_url => $app{http}->url, secret => $secret);
$node->set_server('wee5_cron.ca_file', $cert);
$node->no_retries('postgres', '/call', '/refused', '/nobody', '/locked', '/unknown');
my $doctor = Wee5Cron::Doctor->new($node, 'postgres');

sub called { my ($path, $choices) = @_; return $node->finished('postgres', $node->call('postgres', $path, $choices)) }

fields_are(called('/call'), { status => 'succeeded' }, 'without wee5_cron.proxy a call ignores the proxy variables of the environment');
$doctor->green('proxy', 'no proxy', qr/without a proxy/);

$node->set_server('wee5_cron.proxy', "http://127.0.0.1:$open->{port}");
for my $scheme (sort keys %app) {
    $node->configure('postgres', api_url => $app{$scheme}->url);
    my $before = asked($open);
    for my $method (qw(GET POST DELETE)) {
        fields_are(called('/call', "'$method', headers => '{\"X-Mine\": \"canary-header\"}'"), { status => 'succeeded', http_status => 200, attempts => 1 }, "$scheme: a $method through the proxy succeeds");
    }
    my @requests = (asked($open))[ $before .. asked($open) - 1 ];
    ok(@requests && !(grep { $_->{method} ne 'CONNECT' || $_->{target} ne '127.0.0.1:' . $app{$scheme}->port } @requests), "$scheme: the proxy was asked for tunnels and nothing else");
    is_deeply([ sort keys %{ { map { $_ => 1 } map { @{ $_->{names} } } @requests } } ], [ 'host', 'proxy-connection' ], "$scheme: ... and it saw none of the call's headers");
    my @heard = $app{$scheme}->requests('/call');
    fields_are($heard[-1], { bearer => 'match', method => 'DELETE' }, "$scheme: the app gets the method and the bearer");
    ok(!(grep { /^proxy/ } map { keys %{ $_->{headers} } } @heard), "$scheme: ... and no header meant for the proxy");
    fields_are(called('/truncated'), { status => 'failed', reason => 'response', http_status => 200 }, "$scheme: an answer that breaks off is not taken for a failure of the proxy");
}
unlike(slurp_file($open->{records}), qr/canary/, 'the proxy saw neither the secret nor the headers');
$doctor->green('proxy', 'a proxy', qr/through the proxy 127\.0\.0\.1:$open->{port}$/);
$doctor->green('api_url_resolves', 'names are the proxy\'s to look up', qr/the proxy looks up/);

# Failures of the proxy are `connect` failures.
HTTP::Tiny->new->post("http://127.0.0.1:$open->{port}/refuse?port=" . $app{https}->port)->{success} or die 'proxy';
fields_are(called('/refused'), { status => 'failed', reason => 'connect', http_status => undef, error => qr/through the proxy 127\.0\.0\.1:$open->{port}.*403/, hint => qr/wee5_cron\.proxy/ },
    'a CONNECT that the proxy refuses is a connect failure');
$node->configure('postgres', api_url => 'http://127.0.0.1:9');
fields_are(called('/nobody'), { status => 'failed', reason => 'connect', error => qr/502/ }, 'an app that the proxy cannot reach is a connect failure');
$node->set_server('wee5_cron.proxy', 'http://127.0.0.1:9');
fields_are(called('/nobody'), { status => 'failed', reason => 'connect', hint => qr/wee5_cron\.proxy/ }, 'a proxy that does not answer is a connect failure');
$node->set_server('wee5_cron.proxy', 'http://proxy.invalid:3128');
fields_are(called('/unknown'), { status => 'failed', reason => 'connect', error => qr/proxy\.invalid/, hint => qr/wee5_cron\.proxy/ }, 'an unknown proxy name is a connect failure');

# The proxy's user and password are used, and shown nowhere.
$node->configure('postgres', api_url => $app{http}->url);
$node->set_server('wee5_cron.proxy', "http://user:wrong-canary\@127.0.0.1:$locked->{port}");
fields_are(called('/locked'), { status => 'failed', reason => 'connect', error => qr/407/ }, 'a wrong proxy password is a connect failure');
$node->set_server('wee5_cron.proxy', "user:p%40ss%3Aword\@127.0.0.1:$locked->{port}");
fields_are(called('/call'), { status => 'succeeded' }, 'a call with the right proxy password succeeds');
$doctor->green('proxy', 'a proxy with a password', qr/through the proxy 127\.0\.0\.1:$locked->{port}$/);
is($node->safe_psql('postgres', q{SELECT count(*) FROM wee5_cron.invocation i WHERE to_json(i)::text LIKE '%canary%' AND endpoint_path <> '/call'}), 0, 'the ledger contains no proxy password');
is($node->safe_psql('postgres', q{SELECT count(*) FROM wee5_cron.doctor() d WHERE to_json(d)::text LIKE '%p@ss%' OR to_json(d)::text LIKE '%p%%40ss%'}), 0, '... nor does doctor()');
$node->safe_psql('postgres', 'CREATE ROLE plain LOGIN');
$node->raises('postgres', 'SHOW wee5_cron.proxy', '42501', 'an ordinary role may not SHOW wee5_cron.proxy', role => 'plain');
$node->raises('postgres', "SET wee5_cron.proxy = 'http://x'", '42501', 'an ordinary role may not SET wee5_cron.proxy', role => 'plain');
for my $bad ('socks5://127.0.0.1:1', 'https://proxy:1', 'http://', 'http://h/path', 'http://h?q', 'http://u:canary-p@h:0', 'h h', 'http://u:canary-p@h:99999', 'http://:canary-p@') {
    my $error = $node->raises('postgres', "SET wee5_cron.proxy = '$bad'", '22023', "refused: $bad", message => qr/^invalid value for parameter "wee5_cron.proxy"$/);
}
$node->set_server('wee5_cron.proxy', '');

# Hosts that plain http may be used for.
$node->raises('postgres', "SELECT wee5_cron.configure('http://web.prod', '$secret')", '22023', 'http to a name that is not private', hint => qr/allow_plain_http = 'web\.prod'/);
for my $bad ('*', 'web.prod, *', 'http://web.prod', 'web.prod:80', 'w*b.prod', 'on, web.prod', 'web.prod,') {
    $node->raises('postgres', "SET wee5_cron.allow_plain_http = '$bad'", '22023', "allow_plain_http = '$bad' is refused");
}
is($node->safe_psql('postgres', "SET wee5_cron.allow_plain_http = '$_->[0]'; SHOW wee5_cron.allow_plain_http"), $_->[1], "allow_plain_http = '$_->[0]' is stored as $_->[1]")
  for [ 'true', 'on' ], [ 'no', 'off' ], [ '1', 'on' ], [ '0', 'off' ], [ 'YES', 'on' ], [ ' web.prod,*.flycast ', 'web.prod, *.flycast' ];
$node->set_server('wee5_cron.allow_plain_http', 'other.prod, web.prod');
$node->poll_query_until('postgres', q{SELECT current_setting('wee5_cron.allow_plain_http') LIKE '%web.prod'});
$node->safe_psql('postgres', "SELECT wee5_cron.configure('http://web.prod', '$secret')");
fields_are(called('/named'), { status => 'succeeded', url => 'http://web.prod/named' }, 'a host in allow_plain_http is called by plain http');
$doctor->red('api_url_https', 'warning', qr/clear text.*allow_plain_http allows it/, 'doctor() warns of a host that is called by plain http');
$node->safe_psql('postgres', "ALTER DATABASE postgres SET wee5_cron.allow_plain_http = '*.prod.example'");
$node->raises('postgres', "SELECT invoke_cron_endpoint('/call')", '55000', "a host that the database's own list does not name is refused", message => qr/clear text/);

# A Discord webhook gets Discord's format.
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET wee5_cron.allow_plain_http');
$names->lead('discord.com', '127.0.0.1', $app{http}->port);
$node->set_server('wee5_cron.allow_plain_http', 'discord.com');
$node->set_server('wee5_cron.alert_url', 'http://discord.com/api/webhooks/1/canary-hook');
$node->configure('postgres', api_url => $app{http}->url);
$node->policy('postgres', '/status/500', alert_after => 1, max_attempts => 1);
called('/status/500');
my ($alert) = $app{http}->wait_for_requests('/api/webhooks/1/canary-hook');
my $message = JSON::PP->new->decode($alert->{body});
is($message->{content}, $message->{text}, 'a Discord alert repeats its text as content');
like($message->{content}, qr/failed.*500/, '... which says what failed');
is_deeply($message->{allowed_mentions}, { parse => [] }, "... and mentions nobody, even if an app's answer has a name in it");
$node->log_is_sane;
done_testing();
