# A date for a server that stands still until the test moves it: still_clock.c, and the file that it reads.
package Wee5Cron::StillClock;

use strict;
use warnings;

use Cwd qw(abs_path);
use Fcntl qw(O_NONBLOCK O_WRONLY);
use File::Basename qw(basename dirname);
use File::Glob qw(bsd_glob);
use PostgreSQL::Test::Utils;
use Time::Local qw(timegm);

my $source = abs_path(dirname(__FILE__) . '/../still_clock.c');

# Wee5Cron::StillClock->new('2026-06-01 10:05:00'), in UTC.
sub new {
    my ($class, $time) = @_;
    # For this test only: others may run at the same time.
    my $base = "$PostgreSQL::Test::Utils::tmp_check/still_clock_" . basename($0, '.pl');
    PostgreSQL::Test::Utils::system_or_bail('cc', '-shared', '-fPIC', '-O1', '-o', "$base.so", $source);
    open my $file, '+>', $base or die "$base: $!";
    my $self = bless { base => $base, file => $file }, $class;
    $self->set($time);
    return $self;
}

# Seconds since 1970, or 'YYYY-MM-DD hh:mm:ss' in UTC.
sub set {
    my ($self, $time) = @_;
    if (my ($year, $month, $day, $hour, $minute, $second) = $time =~ /^(\d+)-(\d+)-(\d+) (\d+):(\d+):(\d+)$/) {
        $time = timegm($second, $minute, $hour, $day, $month - 1, $year);
    }
    $self->{now} = $time;
    sysseek $self->{file}, 0, 0;
    syswrite($self->{file}, pack('q', $time)) == 8 or die "$self->{base}: $!";
    return;
}

# The same, and every process that watches the clock learns that it was set.
sub jump {
    my ($self, $time) = @_;
    $self->set($time);
    for my $pipe (bsd_glob("$self->{base}.[0-9]*")) {
        # Without a reader, its process has ended.
        next unless sysopen my $watch, $pipe, O_WRONLY | O_NONBLOCK;
        syswrite($watch, pack('q', 1)) == 8 or die "$pipe: $!";
    }
    return;
}

sub now {
    my ($self) = @_;
    return $self->{now};
}

# Starts a server on this clock.
sub start {
    my ($self, $node) = @_;
    local @ENV{qw(LD_PRELOAD STILL_CLOCK)} = ("$self->{base}.so", $self->{base});
    $node->start;
    return;
}

1;
