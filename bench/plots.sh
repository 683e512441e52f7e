# shellcheck shell=bash
# Draws the plots with gnuplot, from the files that the rows left in the directory of the run.

# draw_plots <directory>: draws rate.svg, latency.svg and growth.svg if their rows were measured.
draw_plots() {
  mkdir -p "$1"
  if [[ -e $bench_directory/rate-builtin ]]; then draw_rate "$1/rate.svg"; fi
  if [[ -e $bench_directory/latency-idle ]]; then draw_latency "$1/latency.svg"; fi
  if [[ -e $bench_directory/growth ]]; then draw_growth "$1/growth.svg"; fi
}

# series <style> <title> <file> <columns>: a line of gnuplot's plot command, where the file is there.
series() { if [[ -e $3 ]]; then echo "'$3' using $4 with $1 title '$2'"; fi; }
joined() { grep . | paste -sd, ; }

svg() { # <file> <title>
  echo "set terminal svg size 720,400 font 'sans-serif,13' background '#ffffff'; set output '$1'; set title '$2'"
  echo "set grid; set border 3; set tics nomirror"
}

draw_rate() {
  local file
  for file in "$bench_directory"/rate-*; do sort -n -o "$file" "$file"; done
  {
    svg "$1" 'Calls delivered and recorded a second, by the length of the queue'
    echo "set logscale xy; set format x '%.0s%c'; set format y '%.0s%c'; set yrange [10:100000]; set key bottom right"
    echo "set xlabel 'calls queued in one transaction'; set ylabel 'calls a second'"
    printf 'plot '
    {
      series 'points pt 7 ps 0.8' 'a bare libcurl loop, nothing recorded' "$bench_directory/rate-bare" 1:2
      series 'linespoints lw 2 pt 7 ps 0.6' 'wee5\_cron, builtin' "$bench_directory/rate-builtin" 1:2
      series 'linespoints lw 2 pt 5 ps 0.6' 'wee5\_cron over pg\_net' "$bench_directory/rate-pg_net" 1:2
    } | joined
  } | gnuplot
}

# The part of the calls that were on the wire within so many milliseconds.
draw_latency() {
  local file
  for file in "$bench_directory"/latency-{idle,busy,hanging,pg_net}; do
    if [[ -e $file ]]; then awk '{ v[NR] = $1 } END { for (i = 1; i <= NR; ++i) print v[i], 100 * i / NR }' "$file" >"$file.plot"; fi
  done
  {
    svg "$1" 'From the commit to the first byte at the app'
    echo "set logscale x; set xrange [0.01:]; set yrange [0:100]; set key at graph 0.72, graph 0.62"
    echo "set xlabel 'milliseconds'; set ylabel 'per cent of the calls'"
    printf 'plot '
    {
      series 'lines lw 2' 'idle' "$bench_directory/latency-idle.plot" 1:2
      series 'lines lw 2' 'at 2,000 calls a second' "$bench_directory/latency-busy.plot" 1:2
      series 'lines lw 2' 'while 200 calls hang' "$bench_directory/latency-hanging.plot" 1:2
      series 'lines lw 2' 'over pg\_net, idle' "$bench_directory/latency-pg_net.plot" 1:2
    } | joined
  } | gnuplot
}

draw_growth() {
  {
    svg "$1" 'What grows with the history, and what does not'
    echo "set logscale xy; set format x '%.0s%c'; set key top left"
    echo "set xlabel 'calls in the ledger, 200 jobs'; set ylabel 'milliseconds'"
    printf 'plot '
    {
      series 'linespoints lw 2 pt 7 ps 0.6' 'a look of the watch' "$bench_directory/growth" 1:2
      series 'linespoints lw 2 pt 5 ps 0.6' 'first call after a restart' "$bench_directory/growth" 1:3
      series 'linespoints lw 2 pt 9 ps 0.6' 'job\_status' "$bench_directory/growth" 1:4
    } | joined
  } | gnuplot
}
