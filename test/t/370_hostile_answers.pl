# Whatever a server answers, each call ends with a row that says what happened, in bounded time and memory, and the worker
# goes on. A server that cannot prove its identity receives nothing.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

use JSON::PP;
use Wee5Cron::Process;

my $directory = PostgreSQL::Test::Utils::tempdir();
my $records   = "$directory/records.jsonl";
append_to_file($records, '');

# Certificates by one trusted authority, and one by an unknown authority.
sub openssl {
    my @command = @_;
    my ($out, $err);
    IPC::Run::run([ 'openssl', @command ], '>', \$out, '2>', \$err) or die "openssl @command: $err";
    return;
}

my @new_key = ('-newkey', 'rsa:2048', '-nodes');
openssl('req', '-x509', @new_key, '-days', 2, '-subj', '/CN=authority', '-keyout', "$directory/ca.key", '-out', "$directory/ca.pem");

# OpenSSL 3.4 and newer take dates, and refuse an end before the beginning, which the older way needs.
sub lifetime {
    my ($days) = @_;
    my $help = `openssl x509 -help 2>&1`;
    return $days < 0 && $help =~ /-not_after/ ? qw(-not_before 20200101000000Z -not_after 20200102000000Z) : ('-days', $days);
}

sub certificate {
    my ($name, $days, $subject) = @_;
    my ($request, $cert) = ("$directory/$name.csr", "$directory/$name.pem");
    openssl('req', @new_key, '-subj', "/CN=$name", '-addext', "subjectAltName=$subject", '-keyout', "$directory/$name.key", '-out', $request);
    openssl('x509', '-req', '-in', $request, '-CA', "$directory/ca.pem", '-CAkey', "$directory/ca.key", '-CAcreateserial',
        lifetime($days), '-copy_extensions', 'copyall', '-out', $cert);
    return "$name=$cert,$directory/$name.key";
}

my $proper = certificate('proper', 2, 'IP:127.0.0.1');
openssl('req', '-x509', @new_key, '-days', 2, '-subj', '/CN=self', '-addext', 'subjectAltName=IP:127.0.0.1',
    '-keyout', "$directory/self.key", '-out', "$directory/self.pem");
my @listeners = (
    $proper,
    $proper =~ s/^proper=(.*)/old=$1,old/r,
    certificate('expired', -1, 'IP:127.0.0.1'),
    certificate('stranger', 2, 'DNS:other.example'),
    "self=$directory/self.pem,$directory/self.key",
);
my $server = Wee5Cron::Process->start(
    command => [ 'node', "$FindBin::RealBin/../support/hostile_server.js", '--records', $records, map { ('--tls', $_) } @listeners ],
    log     => "$PostgreSQL::Test::Utils::log_path/hostile_server.log",
    until   => qr/^listening \d+$/m,
);
my %port = $server->output =~ /^(\w+) (\d+)$/mg;

sub requests {
    my ($listener) = @_;
    return grep { $_->{listener} eq $listener } map { decode_json($_) } split /\n/, slurp_file($records);
}

my $node = Wee5Cron::Node->start_new('main');
$node->install('postgres', api_url => "http://127.0.0.1:$port{listening}", secret => 'the secret of hostile answers');
$node->set_server('wee5_cron.ca_file', "$directory/ca.pem");
my $goes_on = { status => 'failed', reason => 'http', http_status => 500, response_body => '{"honest":true}', response_truncated => 0 };
fields_are($node->finished('postgres', $node->call('postgres', '/first')), $goes_on, 'an honest answer is a success');
my $worker = $node->wait_for_worker('postgres');

sub peak_memory_kb {
    my ($peak) = slurp_file("/proc/$worker/status") =~ /^VmHWM:\s+(\d+) kB/m;
    return $peak;
}

my $memory_before = peak_memory_kb();

# Answers that end by themselves, or by our limits, have a timeout that they must not need. Those that drip have a short
# one.
my $long  = "timeout => '1 hour'";
my $short = "timeout => '400 ms'";
my %broken = (status => 'failed', reason => 'response', hint => qr/\w/, error => qr/\w/);
my @answers = (
    [ '/endless-body', $long, { status => 'succeeded', http_status => 200, response_truncated => 1, response_body => qr/^x{8192}$/ }, 'a body without end' ],
    [ '/endless-headers', $long,  {%broken},              'header lines without end' ],
    [ '/endless-line',    $long,  {%broken},              'a header line without end' ],
    [ '/bomb', $long, { status => 'succeeded', http_status => 200, response_truncated => 1, response_body => qr/^.{1,8192}$/s }, 'a gzip bomb, which nobody asked for, is not unpacked' ],
    [ '/drip',            $short, { status => 'failed', reason => 'timeout' }, 'a body that drips' ],
    [ '/drip-headers',    $short, { status => 'failed', reason => 'timeout', response_body => qr{^$} },              'header lines that drip' ],
    [ '/bytes', $long, { status => 'succeeded', http_status => 200, response_body => qr/^a[^\0]+b[^\0]+\(?[^\0]*$/s, response_content_type => qr{^text/pl} }, 'NUL and bad UTF-8 in body and content type' ],
    [ '/nul-header',      $long,  {%broken},              'a NUL in a header line' ],
    [ '/too-short',       $long,  {%broken},              'fewer bytes than were promised' ],
    [ '/forged', $long, { status => 'succeeded', http_status => 200, response_body => 'ok', response_truncated => 0 }, 'more bytes than were promised' ],
    [ '/two-lengths',     $long,  { status => qr/^(?:failed|succeeded)$/, response_body => qr/^(?:ok)?$/ }, 'two lengths' ],
    [ '/huge-length',     $long,  { status => qr/^(?:failed|succeeded)$/ }, 'a length beyond all numbers' ],
    [ '/bad-chunk',       $long,  {%broken},              'a chunk beyond all numbers' ],
    [ '/informed',        $long,  { %broken, http_status => undef }, '1xx answers without end' ],
    [ '/status-999',      $long,  { status => 'failed', reason => 'http', http_status => 999 }, 'a status that there is none of' ],
);
for my $case (@answers) {
    my ($path, $timeout, $expected, $name) = @$case;
    my $row = $node->finished('postgres', $node->call('postgres', $path, $timeout));
    fields_are($row, { attempts => 1, transport => 'builtin', %$expected }, $name)
      || diag(join ', ', map { "$_=" . ($row->{$_} // 'NULL') } qw(status reason http_status error response_truncated));
    fields_are($node->finished('postgres', $node->call('postgres', '/next')), $goes_on, '... and the next call gets its own answer');
    is(scalar(grep { $_->{path} eq $path } requests('plain')), 1, '... and its request was sent once');
}

# All at once.
my @ids = split /\n/, $node->safe_psql('postgres',
    "SELECT wee5_cron.invoke('/' || kind, timeout => '2 s') FROM unnest('{endless-body,endless-headers,endless-line,drip,informed}'::text[]) kind, generate_series(1, 20)");
$node->wait_until_all_finished('postgres');
is($node->safe_psql('postgres', 'SELECT count(*) FROM wee5_cron.invocation WHERE id = ANY (ARRAY[' . join(',', @ids) . "]) AND attempts = 1"), 100,
    'a hundred hostile answers at once end');
fields_are($node->finished('postgres', $node->call('postgres', '/next')), $goes_on, '... and the next call succeeds');
# 200 MB of the bomb, and endless data in the others.
my $grown = peak_memory_kb() - $memory_before;
cmp_ok($grown, '<', 40 * 1024, "the worker's memory grew by less than 40 MB in all");
note("the worker's peak grew by $grown kB");

# TLS.
sub over_tls {
    my ($listener) = @_;
    $node->configure('postgres', api_url => "https://127.0.0.1:$port{$listener}");
    return $node->finished('postgres', $node->call('postgres', '/tls'));
}
fields_are(over_tls('proper'), $goes_on, 'a call over TLS to a server with a valid certificate succeeds');
is(scalar(my @asked = requests('proper')), 1, '... and its request was sent once');
my %refused = (
    old      => [ 'TLS 1.1 and older',              qr/\w/ ],
    expired  => [ 'an expired certificate',         qr/expired/ ],
    stranger => [ "another host's certificate",     qr/127\.0\.0\.1/ ],
    self     => [ 'a self-signed certificate', qr/self.signed/ ],
);
$node->no_retries('postgres', '/tls');
for my $listener (sort keys %refused) {
    my ($name, $error) = @{ $refused{$listener} };
    fields_are(over_tls($listener), { status => 'failed', reason => 'tls', http_status => undef, attempts => 1, error => $error, hint => qr/\w/ },
        "$name: the call is refused");
    is(scalar(my @told = requests($listener)), 0, '... and the server gets no request');
}
# If the roots cannot be read, no server is trusted.
$node->set_server('wee5_cron.ca_file', "$directory/there-is-none.pem");
fields_are(over_tls('proper'), { status => 'failed', reason => qr/^(?:tls|config)$/, http_status => undef, error => qr/there-is-none/ }, 'without a readable ca_file a call fails');
is(scalar(@asked = requests('proper')), 1, '... and no server gets a request');

is($node->worker_pid('postgres'), $worker, 'one worker has made all calls');
$node->log_is_sane;
done_testing();
