# What the TAP tests share: `use Wee5Cron::Test;` brings Test::More, the node, the receiver and the app.
#
#   my $receiver = Wee5Cron::Receiver->start(secret => 'one');
#   my $node = Wee5Cron::Node->start_new('main');
#   $node->install('postgres', api_url => $receiver->url, secret => 'one');
#   my $id = $node->call('postgres', '/status/200');
#   is($node->finished('postgres', $id)->{status}, 'succeeded');
#
# A test that creates a fixture of test/support names it, and is skipped if it is not installed:
#   use Wee5Cron::Test fixtures => ['pg_net'];
package Wee5Cron::Test;

use strict;
use warnings;

# States come within milliseconds; two minutes are for busy machines.
BEGIN { $ENV{PG_TEST_TIMEOUT_DEFAULT} ||= 120 }

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# What a test died of stands in its log alone, unless somebody prints it.
$SIG{__DIE__} = sub { diag("died: $_[0]") if defined $^S && !$^S };

use Wee5Cron::App;
use Wee5Cron::Node;
use Wee5Cron::Receiver;

sub import {
    my (undef, %wanted) = @_;
    my $caller = caller;
    for my $extension (@{ $wanted{fixtures} // [] }) {
        plan skip_all => "the fixture $extension is not installed: run test/support/install_${extension}_fixture install"
          unless fixture_installed($extension);
    }
    strict->import;
    warnings->import;
    eval "package $caller; use Test::More; use PostgreSQL::Test::Utils; 1" or die $@;
    no strict 'refs';
    *{"${caller}::fields_are"} = \&fields_are;
    *{"${caller}::pg_net_available"} = \&pg_net_available;
    return;
}

sub fixture_installed {
    my ($extension) = @_;
    my $sharedir = `pg_config --sharedir`;
    chomp $sharedir;
    my @scripts = glob("$sharedir/extension/$extension--wee5fixture*.sql");
    return @scripts > 0;
}

# The named fields of a row are as expected; an expected value may be a pattern, undef is NULL. Prints one test per row, and
# names every wrong field.
sub fields_are {
    my ($row, $expected, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @wrong;
    for my $field (sort keys %$expected) {
        my ($have, $want) = ($row->{$field}, $expected->{$field});
        my $good =
            !exists $row->{$field} ? 0
          : !defined $want         ? !defined $have
          : !defined $have         ? 0
          : ref $want eq 'Regexp'  ? $have =~ $want
          :                          $have eq $want;
        next if $good;
        push @wrong, sprintf '%s is %s, expected %s', $field, $have // 'NULL', $want // 'NULL';
    }
    my $good = ok(!@wrong, $name);
    diag(join "\n", @wrong) unless $good;
    return $good;
}

# Whether the server has the real pg_net: a control file other than our stand-in's, 0.7 or newer, and the library.
sub pg_net_available {
    my ($sharedir, $libdir) = map { my $dir = `pg_config --$_`; chomp $dir; $dir } qw(sharedir pkglibdir);
    my $control = "$sharedir/extension/pg_net.control";
    return 0 unless -s $control && -e "$libdir/pg_net.so";
    my ($major, $minor) = slurp_file($control) =~ /^\s*default_version\s*=\s*'(\d+)\.(\d+)/m;
    return defined $major && ($major > 0 || $minor >= 7);
}

1;
