// An HTTP app and a client of Go, as people write them: `app serve PORT`, `app upload PORT PATH TIMES`.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
)

func serve(port string) {
	refuse := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/earlyclose" {
			w.Header().Set("connection", "close")
		}
		http.Error(w, "too big", http.StatusRequestEntityTooLarge)
	}
	http.HandleFunc("/early", refuse)
	http.HandleFunc("/earlyclose", refuse)
	http.HandleFunc("/sleep", func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("waiting")
		<-r.Context().Done()
		fmt.Println("cancelled")
	})
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "ok")
	})
	fmt.Println("ready")
	fmt.Println(http.ListenAndServe("127.0.0.1:"+port, nil))
}

func upload(port, path string, times int) {
	statuses := map[string]int{}
	ask := func(method, target string, body []byte) {
		request, _ := http.NewRequest(method, "http://127.0.0.1:"+port+target, bytes.NewReader(body))
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			statuses[err.Error()]++
			return
		}
		io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		statuses[strconv.Itoa(answer.StatusCode)]++
	}
	for turn := 0; turn < times; turn++ {
		ask("POST", path, make([]byte, 8000000))
		ask("GET", "/", nil)
	}
	json.NewEncoder(os.Stdout).Encode(map[string]any{"statuses": statuses})
}

func main() {
	if os.Args[1] == "serve" {
		serve(os.Args[2])
		return
	}
	times, _ := strconv.Atoi(os.Args[4])
	upload(os.Args[2], os.Args[3], times)
}
