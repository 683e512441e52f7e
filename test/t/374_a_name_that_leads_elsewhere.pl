# DNS answers that change between two calls. Over https the server at the new address has to prove the name; one that cannot
# receives nothing. The first retry finds an app that has moved. On plain http, which is for private names, DNS is trusted,
# and doctor() warns of a name that leads to a public address.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;
use Wee5Cron::Doctor;
use Wee5Cron::MovingNames;

use Time::HiRes ();

my $secret    = 'canary-that-follows-no-stranger';
my $directory = PostgreSQL::Test::Utils::tempdir();

sub openssl {
    my @command = @_;
    my ($out, $err);
    IPC::Run::run([ 'openssl', @command ], '>', \$out, '2>', \$err) or die "openssl @command: $err";
    return;
}

my @new_key = ('-newkey', 'rsa:2048', '-nodes');
openssl('req', '-x509', @new_key, '-days', 2, '-subj', '/CN=authority', '-keyout', "$directory/ca.key", '-out', "$directory/ca.pem");

# A server with a certificate for that name, by the trusted authority.
sub server_of {
    my ($name) = @_;
    my ($request, $cert, $key) = map { "$directory/$name.$_" } qw(csr pem key);
    openssl('req', @new_key, '-subj', "/CN=$name", '-addext', "subjectAltName=DNS:$name", '-keyout', $key, '-out', $request);
    openssl('x509', '-req', '-in', $request, '-CA', "$directory/ca.pem", '-CAkey', "$directory/ca.key", '-CAcreateserial',
        '-days', 2, '-copy_extensions', 'copyall', '-out', $cert);
    return Wee5Cron::Receiver->start(secret => $secret, tls => { cert => $cert, key => $key });
}

my $app      = server_of('app.example.test');
my $stranger = server_of('stranger.example.test');
my $plain    = Wee5Cron::Receiver->start(secret => $secret);
my $moved    = Wee5Cron::Receiver->start(secret => $secret);
my $names    = Wee5Cron::MovingNames->new;
my $node     = Wee5Cron::Node->new_configured('main');
$names->lead('app.example.test', '127.0.0.1', $app->port);
$names->start($node);
$node->install('postgres', api_url => 'https://app.example.test', secret => $secret);
$node->set_server('wee5_cron.ca_file', "$directory/ca.pem");
$node->no_retries('postgres', '/call');

# The worker restarts, and has no address and no connection: by itself it would forget them within seconds.
sub call_of_a_new_worker {
    my ($path) = @_;
    my $worker = $node->wait_for_worker('postgres');
    $node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
    $node->wait_for_worker('postgres', $worker);
    return $node->finished('postgres', $node->call('postgres', $path));
}

# https
my $fine = { status => 'succeeded', http_status => 200 };
fields_are(call_of_a_new_worker('/call'), $fine, "a call to the app's name succeeds");
$names->lead('app.example.test', '127.0.0.1', $stranger->port);
fields_are(call_of_a_new_worker('/call'), { status => 'failed', reason => 'tls', http_status => undef, error => qr/app\.example\.test/ },
    'a call fails when the name leads to a server with another name');
$names->lead('app.example.test', '127.0.0.1', $plain->port);
fields_are(call_of_a_new_worker('/call'), { status => 'failed', reason => 'tls', http_status => undef },
    '... and when it leads to a server without TLS');
is(scalar(my @heard = ($stranger->requests, $plain->requests)), 0, '... and neither of them got a request');
$names->lead('app.example.test', '127.0.0.1', $app->port);
fields_are(call_of_a_new_worker('/call'), $fine, 'a call succeeds when the name leads to the app again');
is(join(' ', map { $_->{bearer} } $app->requests), 'match match', '... and the app got every request with the secret');

# An app that moves while the worker runs: the old address refuses, and the first retry looks up the new one.
my $worker = $node->wait_for_worker('postgres');
$node->configure('postgres', api_url => 'http://app.internal');
$names->lead('app.internal', '127.0.0.1', $plain->port);
fields_are($node->finished('postgres', $node->call('postgres', '/plain')), $fine, 'a call by plain http to a private name succeeds');
$plain->close_port;
$node->policy('postgres', '/moves', max_attempts => 2, retry_delays => '{8s}');
my $id = $node->call('postgres', '/moves');
ok($node->poll_query_until('postgres', "SELECT status = 'retrying' FROM wee5_cron.invocation WHERE id = $id"), 'a call to an app that has moved fails');
$names->lead('app.internal', '127.0.0.1', $moved->port);
fields_are($node->finished('postgres', $id), { %$fine, attempts => 2 }, '... and its first retry finds the new address');
is(join(' ', map { $_->{bearer} } $moved->requests), 'match', '... and sends the secret there: with plain http DNS is trusted');
is($node->worker_pid('postgres'), $worker, '... and the worker is the same');

# An app that moves while calls are made, and whose old address still answers: calls use the new one within five seconds, by
# both schemes, however busy the connection is.
my %pair = (http => [ map { Wee5Cron::Receiver->start(secret => $secret) } 1 .. 2 ], https => [ map { server_of('busy.example.test') } 1 .. 2 ]);
my %name = (http => 'busy.internal', https => 'busy.example.test');
for my $scheme (sort keys %pair) {
    my ($old, $new) = @{ $pair{$scheme} };
    $names->lead($name{$scheme}, '127.0.0.1', $old->port);
    $node->configure('postgres', api_url => "$scheme://$name{$scheme}");
    my $session = $node->background_psql('postgres');
    my $goes_on = sub {
        $session->query_safe("SELECT invoke_cron_endpoint('/steady')");
        Time::HiRes::sleep(0.1);
    };
    # Each call finds the connection of the previous one.
    $goes_on->() while scalar(my @heard = $old->requests) < 20;
    $names->lead($name{$scheme}, '127.0.0.1', $new->port);
    my $moved = Time::HiRes::time();
    $goes_on->() while !(my @arrived = $new->requests) && Time::HiRes::time() < $moved + 30;
    $session->quit;
    $node->wait_until_all_finished('postgres');
    ok(scalar(my @at_new = $new->requests), "$scheme: calls find an app that moves under steady traffic");
    my @late = grep { $_->{time} > 1000 * ($moved + 5) } $old->requests;
    is(scalar(@late), 0, '... and five seconds later the old address gets no request');
    is(scalar(grep { $_->{bearer} ne 'match' } $new->requests), 0, '... and the new address gets the secret');
    my %connections = map { $_->{connection} => 1 } $old->requests;
    cmp_ok(scalar(keys %connections), '<', scalar(my @requests = $old->requests), '... and connections are still reused');
}
$node->configure('postgres', api_url => 'http://app.internal');

# What doctor() says about plain http to an address where DNS should not lead.
my $doctor = Wee5Cron::Doctor->new($node, 'postgres');
$doctor->green('api_url_resolves', 'a private name at a private address', qr/app\.internal is 127\.0\.0\.1/);
for my $public ('203.0.113.7', '2001:db8::7') {
    $names->lead('app.internal', $public, $moved->port);
    like($doctor->red('api_url_resolves', 'warning', qr/app\.internal has the public address \Q$public\E, .*clear text/, "a private name at $public"),
        qr{SET app\.settings\.api_url = 'https://app\.internal';}, '... and its hint has the statement for https');
}
$node->configure('postgres', api_url => 'https://app.internal');
$doctor->green('api_url_resolves', 'a name over https', qr/app\.internal is 2001:db8::7/);
$node->log_is_sane;
done_testing();
