# While the library is not loaded, nothing checks the values that ALTER DATABASE stores. Each session ignores a value that
# is out of bounds, and so does the worker.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Node->start_new('main', preload => 'pg_cron');
my %stored = (
    max_in_flight      => [ 0, -1, 2_000_000 ],
    max_response_bytes => [ -1, 2_000_000_000, 1_048_577 ],
    request_timeout    => [ 0, -5 ],
    connect_timeout    => [ 0, -5 ],
    keep_succeeded     => [ -2 ],
    keep_failed        => [ -1000 ],
);
$node->safe_psql('postgres', join '', map { "CREATE DATABASE round$_;" } 0 .. 2) =~ /^$/ or die;
for my $round (0 .. 2) {
    $node->safe_psql('postgres', join '', map { "ALTER DATABASE round$round SET wee5_cron.$_ = '" . ($stored{$_}[$round] // $stored{$_}[0]) . "';" } sort keys %stored);
    # A value that is too long for its buffer is not truncated and used.
    $node->safe_psql('postgres', "ALTER DATABASE round$round SET wee5_cron.alert_url = '" . $receiver->url . '/alert/' . 'x' x 3000 . "'");
}
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_cron,wee5_cron'\nwee5_cron.default_jobs = off");
$node->restart;
# Each session gets a warning about them, which poll_query_until() would treat as a failure.
$ENV{PGOPTIONS} = '-c client_min_messages=error';

for my $round (0 .. 2) {
    my $database = "round$round";
    $node->install($database, api_url => $receiver->url, secret => 'the secret');
    is($node->safe_psql($database, "SELECT current_setting('wee5_cron.max_in_flight')"), 256, "$database: a session uses the default for a value out of bounds");
    my @ids = map { $node->call($database, $_) } '/big?bytes=20000', map { "/slow?ms=300&n=$_" } 1 .. 3;
    fields_are($node->finished($database, $ids[0]), { status => 'succeeded', response_truncated => JSON::PP::true(), response_body => qr/^.{8192}$/s }, '... and so does the worker');
    is($node->finished($database, $_)->{status}, 'succeeded', '... and calls are sent, with enough time to be answered') for @ids;
    $node->policy($database, '/status/500', alert_after => 1);
    $node->finished($database, $node->call($database, '/status/500'));
}
$node->poll_query_until("round$_", 'SELECT count(*) = 0 FROM wee5_cron.pending_alert') or die for 0 .. 2;
$node->wait_until_all_finished("round$_") for 0 .. 2;
is(scalar(() = $receiver->requests(qr{^/alert})), 0, 'no alert is posted to a truncated address');

$node->log_is_sane;
done_testing();
