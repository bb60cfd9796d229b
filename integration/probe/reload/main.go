// A program that reloads its settings the way viper does: by fsnotify on the directory of its file, since the file
// itself is a link that never changes. Prints the content, as a line of JSON, at the start and after each change.
//
//	reload FILE
package main

import (
	"encoding/json"
	"log"
	"os"
	"path/filepath"

	"github.com/fsnotify/fsnotify"
)

func main() {
	file := filepath.Clean(os.Args[1])
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		log.Fatal(err)
	}
	if err := watcher.Add(filepath.Dir(file)); err != nil {
		log.Fatal(err)
	}
	real := resolved(file)
	say(file)
	for {
		select {
		case event, open := <-watcher.Events:
			if !open {
				return
			}
			now := resolved(file)
			written := filepath.Clean(event.Name) == file && event.Has(fsnotify.Write|fsnotify.Create)
			if written || (now != "" && now != real) {
				real = now
				say(file)
			}
		case err := <-watcher.Errors:
			log.Fatal(err)
		}
	}
}

func resolved(file string) string {
	real, _ := filepath.EvalSymlinks(file)
	return real
}

func say(file string) {
	content, err := os.ReadFile(file)
	if err != nil {
		log.Print(err)
		return
	}
	json.NewEncoder(os.Stdout).Encode(string(content))
}
